"""Ours over REST, by our client library, one task a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import ours
from ours import AGENT, COUNT_DONE, IS_DONE, KEEPS, PORT, prepare, worker_commands

from ops_core.client import Client

__all__ = ["COUNT_DONE", "IS_DONE", "KEEPS", "client", "prepare", "server_commands", "worker_commands"]

REQUIREMENTS = None


def server_commands() -> list[list[str]]:
    return [*ours.server_commands(), ours.command("api", "start")]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    own = threading.local()
    with ExitStack() as stack:

        def submit() -> str:
            # One for each thread, as its documentation says.
            if not hasattr(own, "client"):
                own.client = stack.enter_context(Client(f"http://127.0.0.1:{PORT}"))
            return str(own.client.tasks.submit(AGENT, "nothing").id)

        yield submit
