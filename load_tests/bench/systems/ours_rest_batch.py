"""Ours over REST, by our client library, a hundred tasks a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ours import AGENT, COUNT_DONE, IS_DONE, KEEPS, PORT, prepare, worker_commands
from ours_rest import server_commands

from ops_core.client import Client

__all__ = ["COUNT_DONE", "IS_DONE", "KEEPS", "client", "prepare", "server_commands", "worker_commands"]

REQUIREMENTS = None
WORKS = ("accept-1", "accept-16", "end-to-end")
TASKS_A_SUBMIT = 100
_TASKS = [{"agent": AGENT, "goal": "nothing"}] * TASKS_A_SUBMIT


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    own = threading.local()
    with ExitStack() as stack:

        def submit() -> str:
            if not hasattr(own, "client"):
                own.client = stack.enter_context(Client(f"http://127.0.0.1:{PORT}"))
            return str(own.client.tasks.submit_batch(_TASKS)[-1].id)

        yield submit
