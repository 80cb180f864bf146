"""Starts processes of the product by forking one that has imported everything: in tens of milliseconds, not seconds.

A fault suite starts hundreds of processes, and importing is nearly all that a start costs. The forked ones are real
processes, with a session, an environment, a folder and a log of their own. The nursery has no threads and does nothing
else. It reads one request a line and answers with one line; when its input closes, it kills what it started and ends.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ops_core.tests.journeys.system import Process

#: What the product imports, much of it only where it is needed.
_WANTED = (
    *("cel", "httpcore2", "openai.resources.chat", "pika", "psycopg", "truststore", "uvloop"),
    *("anyio._backends._asyncio", "agentkit.llm.openai_chat", "agentkit.llm.vendor_connections"),
    *("agentkit.llm.vendor_http", "agentkit.llm.vendor_stream"),
    *("ops_core.api.app", "ops_core.api.door", "ops_core.api.gate", "ops_core.api.serve", "ops_core.rpc.server"),
    *(
        "ops_core.bootstrap.embedded",
        "ops_core.bootstrap.isolated",
        "ops_core.entrypoints.main",
        "ops_core.entrypoints.worker_child",
    ),
    *("ops_core.broker.publisher", "ops_core.broker.rabbitmq", "ops_core.worker.supervisor"),
    *("ops_core.storage.postgres.backend", "ops_core.storage.postgres.leases", "ops_core.storage.postgres.nudges"),
    *("ops_core.tests.faults.altered", "ops_core.tests.faults.tools"),
)


class Nursery:
    """The process that forks, seen from the one that asks it to."""

    def __init__(self, preload: Mapping[str, str]) -> None:
        """`preload` is added to the environment, its own and that of its children."""
        self._preload = dict(preload)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ops_core.tests.faults.nursery"],
            env={**os.environ, **preload},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lock = threading.Lock()

    def fork(self, *, alterations: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """A new process of the product, working where its log lies; its process id."""
        facts = {"alterations": alterations, "command": [*command], "log": str(log)}
        return int(self._ask("fork", **facts, environment={**environment, **self._preload}))

    def poll(self, pid: int) -> int | None:
        """Its exit status once it has ended: said once, since the next process may have the same number."""
        status: int | None = self._ask("poll", pid=pid)
        return status

    def close(self) -> None:
        """Kill what is left and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, what: str, **facts: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"what": what, **facts}) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


class Forked(Process):
    """A process that the nursery has started, looked at and killed like any other."""

    def __init__(
        self,
        nursery: Nursery,
        name: str,
        *,
        alterations: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self.log.touch()
        pid = nursery.fork(alterations=alterations, command=command, environment=environment, log=self.log)
        self.popen = _Handle(nursery, pid)  # type: ignore[assignment]  # as much of a Popen as a Process needs


class _Handle:
    """What `subprocess.Popen` offers, for a child of the nursery."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._nursery.poll(self.pid)
        return self._status

    def wait(self, timeout: float) -> int:
        give_up_at = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > give_up_at:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return status

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _serve() -> None:
    """Answer until the input closes."""
    _import_everything()
    alive: set[int] = set()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            answer: int | None = 0
            if request["what"] == "fork":
                answer = os.fork()
                if answer == 0:
                    _be(request)
                alive.add(answer)
            elif request["what"] == "poll":
                pid, status = os.waitpid(request["pid"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
                alive.discard(pid)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)


def _be(request: Mapping[str, Any]) -> None:
    """In the child: what was asked for; never returns."""
    status = 1
    try:
        os.setsid()
        log = Path(request["log"])
        os.chdir(log.parent)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor, wanted in ((nowhere, 0), (out, 1), (out, 2)):
            os.dup2(descriptor, wanted)
        # One that crashes in C shall not end without a word.
        faulthandler.enable()
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[:0] = request["environment"]["PYTHONPATH"].split(os.pathsep)[:1]
        from ops_core.tests.faults.altered import main

        status = main(request["alterations"], request["command"])
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else 1
    except BaseException:  # noqa: BLE001  nothing of the nursery must go on in the child
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _import_everything() -> None:
    """What each of them would import: when it starts, or at the first call of a model while its leases run."""
    for name in _WANTED:
        import_module(name)


if __name__ == "__main__":
    _serve()
