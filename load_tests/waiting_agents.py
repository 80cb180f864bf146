"""Many agents that only wait, in one worker process: how long it takes, how many run at once, how much memory.

    python load_tests/waiting_agents.py                      # embedded: everything in one process
    python load_tests/waiting_agents.py --database-url postgresql://… --broker-url amqp://…

It starts the system by its console script, in a folder of its own, and talks to it over REST only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

_BATCH = 500
_PAGE = 200
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


def main() -> int:
    options = _options()
    run = f"waiting-{uuid4().hex[:12]}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ops-core-load-")))
        port = _free_port()
        system = System(folder, _environment(options, folder, port))
        stack.callback(system.stop)
        api = Api(f"http://127.0.0.1:{port}")
        if options.broker_url is None:
            worker = system.start("up")
            api.wait_until_ready(system)
            submitted = _submit(api, options, run)
        else:
            system.run("db", "upgrade")
            system.start("api", "start", "--port", str(port))
            system.start("housekeeper", "start")
            api.wait_until_ready(system)
            # The worker comes last and finds all of them, so that the rate of submits is not what is measured.
            submitted = _submit(api, options, run)
            worker = system.start("worker", "start", "--concurrency", str(options.concurrency))
        _wait_until_done(api, system, run, seconds=options.patience_seconds)
        memory = _peak_memory_mb(worker)
        tasks = list(api.tasks(run))
    return _report(options, submitted, tasks, memory)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", help="PostgreSQL; left out: a new SQLite file")
    parser.add_argument("--broker-url", help="RabbitMQ; left out: in process, everything in one `ops-core up`")
    parser.add_argument("--tasks", type=int, default=1_000, help="how many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each waits (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, help="agents at once in the worker (default: as many as tasks)")
    parser.add_argument("--agent", default="assistant", help="whose model is replaced by the wait")
    parser.add_argument("--patience-seconds", type=float, default=300.0, help="give up after (default: %(default)s)")
    options = parser.parse_args()
    if (options.database_url is None) is not (options.broker_url is None):
        parser.error("give both --database-url and --broker-url, or neither")
    if options.tasks < 1 or options.seconds < 0:
        parser.error("--tasks must be at least 1, --seconds at least 0")
    options.concurrency = options.concurrency or options.tasks
    return options


def _environment(options: argparse.Namespace, folder: Path, port: int) -> dict[str, str]:
    """The settings of the system under test: none are inherited, so that two runs are alike."""
    ours = {
        "OPS_CORE_DATABASE_URL": options.database_url or f"sqlite:///{folder / 'ops.db'}",
        "OPS_CORE_BROKER_URL": options.broker_url or "memory://",
        "OPS_CORE_PORT": str(port),
        "OPS_CORE_GRPC_PORT": str(_free_port()),
        "OPS_CORE_CONCURRENCY": str(options.concurrency),
        "OPS_CORE_LOAD_TEST_MOCK_AGENT_DELAY_MS": str(round(options.seconds * 1_000)),
        # A line per task and step would be a load of its own.
        "OPS_CORE_LOG_LEVEL": "warning",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPS_CORE_", "AGENTKIT_"))}
    return {**inherited, **ours}


class System:
    """The processes under test, each with a log of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._command = _console_script()
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def run(self, *arguments: str) -> None:
        """Run to the end."""
        subprocess.run(
            [self._command, *arguments], cwd=self._folder, env=self._environment, check=True, timeout=_START_SECONDS
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{'-'.join(arguments[:2])}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self._command, *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._started.append((process, log))
        return process

    def check_alive(self) -> None:
        """Exit, with the end of its log, when a process has died."""
        for process, log in self._started:
            if process.poll() is not None:
                sys.exit(f"{log.stem} has ended with {process.returncode}:\n{log.read_text(errors='replace')[-3_000:]}")

    def stop(self) -> None:
        for process, _ in reversed(self._started):
            process.send_signal(signal.SIGTERM)
        for process, _ in reversed(self._started):
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Api:
    """The few REST calls that this needs."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def wait_until_ready(self, system: System) -> None:
        _until(lambda: self._is_ready(), system, seconds=_START_SECONDS, what="the API is not ready")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base_url}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:  # refused, or an HTTP error such as 503
            return False

    def submit(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        self._call("/api/v1/tasks/batch", body={"tasks": list(bodies)})

    def any_live(self, run: str) -> bool:
        query = [("label", f"run:{run}"), ("limit", "1"), ("status", "scheduled,queued,running,waiting")]
        return bool(self._call(f"/api/v1/tasks?{urllib.parse.urlencode(query)}")["data"])

    def tasks(self, run: str) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            query = {"label": f"run:{run}", "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
            page = self._call(f"/api/v1/tasks?{urllib.parse.urlencode(query)}")
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base_url + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.code}\n{error.read().decode(errors='replace')[:2_000]}")


def _submit(api: Api, options: argparse.Namespace, run: str) -> float:
    """Submit all tasks; returns how many seconds that took."""
    started = time.perf_counter()
    body = {"agent": options.agent, "goal": "wait", "labels": {"run": run}}
    for first in range(0, options.tasks, _BATCH):
        api.submit([body] * min(_BATCH, options.tasks - first))
    return time.perf_counter() - started


def _wait_until_done(api: Api, system: System, run: str, *, seconds: float) -> None:
    _until(lambda: not api.any_live(run), system, seconds=seconds, what="tasks are not done")


def _until(condition: Callable[[], bool], system: System, *, seconds: float, what: str) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        system.check_alive()
        if time.monotonic() > ends_at:
            sys.exit(f"{what} after {seconds:g} s")
        time.sleep(0.25)


@dataclass(frozen=True)
class Spans:
    """When tasks ran, by the database's clock."""

    spans: Sequence[tuple[datetime, datetime]]

    @property
    def makespan_seconds(self) -> float:
        """From the first start to the last end."""
        return (max(end for _, end in self.spans) - min(start for start, _ in self.spans)).total_seconds()

    @property
    def peak(self) -> int:
        """Most tasks between their start and their end at one moment."""
        changes = sorted([(start, 1) for start, _ in self.spans] + [(end, -1) for _, end in self.spans])
        running = peak = 0
        for _, change in changes:
            running += change
            peak = max(peak, running)
        return peak


def _report(options: argparse.Namespace, submitted: float, tasks: Sequence[Mapping[str, Any]], memory: float) -> int:
    statuses = Counter(task["status"] for task in tasks)
    print(f"set-up          {'embedded' if options.broker_url is None else 'PostgreSQL and RabbitMQ'}")
    print(f"tasks           {len(tasks):,} of {options.seconds:g} s each: {dict(statuses)}")
    print(f"submitted in    {submitted:.2f} s")
    if statuses == {"completed": options.tasks}:
        spans = Spans([(_time(task["started_at"]), _time(task["finished_at"])) for task in tasks])
        print(f"makespan        {spans.makespan_seconds:.2f} s, first start to last end")
        print(f"peak in flight  {spans.peak:,}, limit {options.concurrency:,}")
    print(f"worker's memory {memory:.0f} MB at its highest")
    return 0 if statuses == {"completed": options.tasks} else 1


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _peak_memory_mb(process: subprocess.Popen[bytes]) -> float:
    """The most memory that the process, or the largest of those it has started, has had resident."""
    if Path("/proc/self/status").exists():
        return max(_high_water_mb(pid) for pid in _with_descendants(process.pid))
    # Elsewhere the system tells only of children that have ended.
    process.send_signal(signal.SIGTERM)
    process.wait(_STOP_SECONDS)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def _with_descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command, in parentheses, may hold blanks and parentheses itself.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    found = [pid]
    for candidate in found:
        found.extend(child for child, parent in parents.items() if parent == candidate)
    return found


def _high_water_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _console_script() -> str:
    beside = Path(sys.executable).with_name("ops-core")
    found = str(beside) if beside.exists() else shutil.which("ops-core")
    if found is None:
        sys.exit("ops-core is not installed in this environment: pip install -e .")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
