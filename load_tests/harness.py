"""What the scripts share: the system under test as processes of its own, a model that the script plays, figures.

Every script starts the system by its console script, in a folder of its own, with settings that are not inherited, and
talks to it over HTTP only. Without `--database-url` and `--broker-url` everything runs in one `ops-core up`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

START_SECONDS = 60.0
STOP_SECONDS = 30.0
BATCH = 500
PAGE = 200
PREFIX = "/api/v1"
#: Thousands of streams at once, and the connections to the model behind them.
OPEN_FILES = 16_384


def parser(about: str | None, *, tasks: int) -> argparse.ArgumentParser:
    """The options that all have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--database-url", help="PostgreSQL; left out: a new SQLite file")
    made.add_argument("--broker-url", help="RabbitMQ; left out: in process, everything in one `ops-core up`")
    made.add_argument("--tasks", type=int, default=tasks, help="how many (default: %(default)s)")
    made.add_argument("--json", action="store_true", help="print the figures as JSON as well, on the last line")
    return made


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    options = made.parse_args()
    if (options.database_url is None) is not (options.broker_url is None):
        made.error("give both --database-url and --broker-url, or neither")
    if options.tasks < 1:
        made.error("--tasks must be at least 1")
    return options


def set_up_name(options: argparse.Namespace) -> str:
    return "embedded" if options.broker_url is None else "PostgreSQL and RabbitMQ"


class System:
    """The processes under test, each with a log of its own."""

    def __init__(self, options: argparse.Namespace, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._embedded = options.broker_url is None
        self._command = _console_script()
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []
        ours = {
            "OPS_CORE_DATABASE_URL": options.database_url or f"sqlite:///{folder / 'ops.db'}",
            "OPS_CORE_BROKER_URL": options.broker_url or "memory://",
            "OPS_CORE_PORT": self.port,
            "OPS_CORE_GRPC_PORT": free_port(),
            # A line per task and step would be a load of its own.
            "OPS_CORE_LOG_LEVEL": "warning",
            "AGENTKIT_LLM_API_KEY": "none",
            **settings,
        }
        theirs = {name: text for name, text in os.environ.items() if not name.startswith(("OPS_CORE_", "AGENTKIT_"))}
        self._environment = {**theirs, **{name: str(value) for name, value in ours.items()}}

    def add_agent(self, name: str, text: str) -> None:
        (self.folder / "agents").mkdir(exist_ok=True)
        (self.folder / "agents" / f"{name}.yaml").write_text(text)

    def start_all_but_workers(self) -> None:
        """Embedded, the worker is in it."""
        if self._embedded:
            self.start("up")
        else:
            self.run("db", "upgrade")
            self.start("api", "start")
            self.start("housekeeper", "start")
        self.until(self._is_ready, seconds=START_SECONDS, what="the API is not ready")

    def start_worker(self, *, concurrency: int) -> subprocess.Popen[bytes]:
        """One more; embedded, the one there is."""
        if self._embedded:
            return self._started[0][0]
        return self.start("worker", "start", "--concurrency", str(concurrency))

    def run(self, *arguments: str) -> None:
        """Run to the end."""
        command = [self._command, *arguments]
        subprocess.run(command, cwd=self.folder, env=self._environment, check=True, timeout=START_SECONDS)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{'-'.join(arguments[:2])}-{len(self._started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self._command, *arguments],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._started.append((process, log))
        return process

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [process for process, _ in self._started]

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """It was meant to end."""
        self._started = [(other, log) for other, log in self._started if other is not process]

    def check_alive(self) -> None:
        """Exit, with the end of its log, when a process has died."""
        for process, log in self._started:
            if process.poll() is not None:
                sys.exit(f"{log.stem} has ended with {process.returncode}:\n{log.read_text(errors='replace')[-3_000:]}")

    def until(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Raises:
        SystemExit: it was not met in time, or a process has died.
        """
        ends_at = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            if time.monotonic() > ends_at:
                sys.exit(f"{what} after {seconds:g} s")
            time.sleep(0.25)

    def stop(self) -> None:
        for process, _ in reversed(self._started):
            process.send_signal(signal.SIGTERM)
        for process, _ in reversed(self._started):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _is_ready(self) -> bool:
        try:
            return bool(httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200)
        except httpx2.TransportError:
            return False


@contextlib.contextmanager
def system(options: argparse.Namespace, **settings: object) -> Iterator[System]:
    """A system of which nothing runs yet; whatever is started in it is stopped at the end."""
    _allow_open_files()
    with tempfile.TemporaryDirectory(prefix="ops-core-load-") as folder:
        under_test = System(options, Path(folder), **settings)
        try:
            yield under_test
        finally:
            under_test.stop()


def _allow_open_files() -> None:
    """For this process and those that it starts: many systems give 1,024, which is less than 1,000 streams need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Refused(Exception):
    """The API answered with an error."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.request.url}: {response.status_code}\n{response.text[:2_000]}")
        self.code = response.status_code


class Api:
    """The REST calls that the scripts need; many may be under way."""

    def __init__(self, url: str) -> None:
        limits = httpx2.Limits(max_connections=64)
        # Thousands may wait for one of the connections.
        timeout = httpx2.Timeout(60, pool=None)
        self._http = httpx2.AsyncClient(base_url=url, timeout=timeout, limits=limits)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: object) -> Any:
        return self._answer(await self._http.get(PREFIX + path, params=query))

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._answer(await self._http.post(PREFIX + path, json=body))

    async def submit(self, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """All of them, in batches; the tasks in the same order."""
        tasks: list[dict[str, Any]] = []
        for first in range(0, len(bodies), BATCH):
            tasks += (await self.post("/tasks/batch", {"tasks": bodies[first : first + BATCH]}))["data"]
        return tasks

    async def all(self, path: str, **query: object) -> AsyncIterator[dict[str, Any]]:
        """A list, page by page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=PAGE, **query, **({"cursor": cursor} if cursor else {}))
            for entry in page["data"]:
                yield entry
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def none(self, status: str) -> bool:
        """Whether no task has one of these states."""
        return not (await self.get("/tasks", status=status, limit=1))["data"]

    @staticmethod
    def _answer(response: httpx2.Response) -> Any:
        if response.is_error:
            raise Refused(response)
        return response.json()


async def until(condition: Callable[[], bool], under_test: System, *, seconds: float, what: str) -> None:
    """As `System.until`, while this process goes on."""
    ends_at = time.monotonic() + seconds
    while not condition():
        under_test.check_alive()
        if time.monotonic() > ends_at:
            sys.exit(f"{what} after {seconds:g} s")
        await asyncio.sleep(0.05)


class Call:
    """One call of a model."""

    def __init__(self, body: Mapping[str, Any], closed: asyncio.Event) -> None:
        self.at = time.time()
        self._messages: Sequence[Mapping[str, Any]] = body["messages"]
        #: Set when the caller has gone.
        self.closed = closed

    @property
    def goal(self) -> str:
        return next(str(message["content"]) for message in self._messages if message["role"] == "user")

    @property
    def after_a_tool(self) -> bool:
        return self._messages[-1]["role"] == "tool"

    @property
    def tool_results(self) -> int:
        """How many the model has been told so far."""
        return sum(message["role"] == "tool" for message in self._messages)


class Tool(dict[str, Any]):
    """An answer that asks for a tool call."""

    def __init__(self, name: str, /, **arguments: object) -> None:
        function = {"name": name, "arguments": json.dumps(arguments)}
        super().__init__(content=None, tool_calls=[{"id": "call-1", "type": "function", "function": function}])


@asynccontextmanager
async def model(answer: Callable[[Call], Awaitable[Tool | str]], *, port: int = 0) -> AsyncIterator[str]:
    """Serve the wire format of Chat Completions from this process; gives the agent file's `model:` line.

    Args:
        port: a free one if it is 0.
    """
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    await _serve_one(reader, writer, answer)
        finally:
            serving.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"model: {{provider: openai-compatible, name: m, base_url: 'http://127.0.0.1:{port}/v1'}}\n"
    finally:
        server.close()
        for task in serving:
            task.cancel()


async def _serve_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Call], Awaitable[Tool | str]]
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = re.search(r"content-length: (\d+)", head)
    body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
    closed = asyncio.Event()
    # A client that waits for its answer sends nothing: what can be read now is the end.
    gone = asyncio.create_task(reader.read(1))
    gone.add_done_callback(lambda _: closed.set())
    said = await answer(Call(body, closed))
    if closed.is_set():
        raise ConnectionResetError
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    message = {"content": said} if isinstance(said, str) else dict(said)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    if isinstance(said, Tool):
        choice["finish_reason"] = "tool_calls"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    reply = {"id": "r", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    text = json.dumps(reply).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    writer.write(f"content-length: {len(text)}\r\n\r\n".encode() + text)
    await writer.drain()


def at(figures: Sequence[float], share: float) -> float:
    """The figure below which this share of them is."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row_of(name: str, seconds: Sequence[float]) -> str:
    """A line: how many, and milliseconds at the median, at 99 % and at most."""
    p50, p99, most = (1000 * value for value in (at(seconds, 0.5), at(seconds, 0.99), max(seconds)))
    return f"{name:28}{len(seconds):>8,}{p50:>10.1f}{p99:>10.1f}{most:>10.1f}"


HEADING = f"{'':28}{'samples':>8}{'p50, ms':>10}{'p99, ms':>10}{'max, ms':>10}"


@dataclass(frozen=True)
class Figure:
    """One number for `--json`. A metric with a dash in its name is a detail: the benchmark's tables leave it out."""

    metric: str
    unit: str
    value: float


def figures_of(name: str, seconds: Sequence[float]) -> list[Figure]:
    """What `row_of` prints: `<name> p99`, and the others as details."""
    detail = name.replace(" ", "-")
    return [
        Figure(f"{name} p99", "ms", 1000 * at(seconds, 0.99)),
        Figure(f"{detail}-p50", "ms", 1000 * at(seconds, 0.5)),
        Figure(f"{detail}-max", "ms", 1000 * max(seconds)),
    ]


def tell(options: argparse.Namespace, figures: Sequence[Figure]) -> None:
    """The last line, when `--json` asks for it."""
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _console_script() -> str:
    beside = Path(sys.executable).with_name("ops-core")
    found = str(beside) if beside.exists() else shutil.which("ops-core")
    if found is None:
        sys.exit("ops-core is not installed in this environment: pip install -e .")
    return found
