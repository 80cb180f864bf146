"""A whole installation in real processes, for tests that look at it from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx2

from ops_core.client import Client
from ops_core.tests.free_port import free_port

T = TypeVar("T")

CONSOLE = [sys.executable, "-m", "ops_core.entrypoints.main"]
START_SECONDS = 60.0
STOP_SECONDS = 30.0


def until(condition: Callable[[], T], *, seconds: float = 30.0, what: str) -> T:
    """Ask again and again until the answer is true; it is a failure when that takes too long."""
    end = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def is_listening(port: int) -> bool:
    """Whether something accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """One child, its output in a file, killed with its whole group in the end."""

    def __init__(self, name: str, command: list[str], *, environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def family(self) -> set[int]:
        """This process and all below it."""
        return {self.pid} | descendants(self.pid)

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """`kill -9` of the process and all below it, as a power cut would. Of one that has ended nobody is killed: by
        now its number may be another's."""
        for pid in self.family() if self.popen.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop:\n{self.output()[-4000:]}") from None


class System:
    """Processes that share one database and one broker."""

    def __init__(self, directory: Path, **settings: object) -> None:
        """
        Args:
            directory: Where the processes run and write their logs; `agents/` in it holds agent files.
            settings: By the names of `ops_core.settings.Settings`.
        """
        self.directory = directory
        self.port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"port": self.port, "grpc_port": self.grpc_port, "log_level": "info", "log_json": True}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPS_CORE_", "AGENTKIT_"))}
        self.environment = inherited | {f"OPS_CORE_{k.upper()}": str(v) for k, v in (own | settings).items()}
        self.processes: list[Process] = []

    def __enter__(self) -> System:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
        if error is not None:
            for process in self.processes:
                print(f"--- {process.name}\n{process.output()[-3000:]}", file=sys.stderr)

    def start(self, name: str, *command: str, **settings: object) -> Process:
        """Start a process of the console script; its settings on top of the system's."""
        environment = self.environment | {f"OPS_CORE_{k.upper()}": str(v) for k, v in settings.items()}
        process = Process(name, [*CONSOLE, *command], environment=environment, directory=self.directory)
        self.processes.append(process)
        return process

    def run(self, *command: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the console script to its end."""
        environment = self.environment | {"OPS_CORE_URL": self.url, "NO_COLOR": "1", "COLUMNS": "200"}
        return subprocess.run(
            [*CONSOLE, *command],
            env=environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def upgrade(self) -> None:
        done = self.run("db", "upgrade")
        assert done.returncode == 0, done.stderr

    def start_api(self) -> Process:
        process = self.start("api", "api", "start")
        self.wait_ready(process)
        return process

    def start_rpc(self) -> Process:
        process = self.start("rpc", "rpc", "start")
        until(lambda: is_listening(self.grpc_port), seconds=START_SECONDS, what="gRPC listens")
        return process

    def start_worker(self, name: str, **settings: object) -> Process:
        return self.start(name, "worker", "start", **settings)

    def start_housekeeper(self) -> Process:
        return self.start("housekeeper", "housekeeper", "start")

    def wait_ready(self, process: Process) -> None:
        def ready() -> bool:
            assert process.popen.poll() is None, f"{process.name} ended:\n{process.output()[-4000:]}"
            try:
                return httpx2.get(f"{self.url}/readyz", timeout=2).status_code == 200
            except httpx2.TransportError:
                return False

        until(ready, seconds=START_SECONDS, what=f"{process.name} is ready")

    def client(self, **options: Any) -> Client:
        return Client(self.url, **options)


def descendants(pid: int) -> set[int]:
    """Process ids below this one, by /proc; empty where there is none."""
    children: dict[int, set[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), set()).add(int(stat.parent.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        fresh = children.get(todo.pop(), set()) - found
        found |= fresh
        todo.extend(fresh)
    return found


def state_of(pid: int) -> str | None:
    """The process's letter in /proc, such as `T` when it is stopped; None where it cannot be found."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    return state_of(pid) not in {"Z", None}
