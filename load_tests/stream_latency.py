"""Measures how much later than the model says it a reader of a task's event stream has a piece of text.

    python load_tests/stream_latency.py                       # embedded: starts a system of its own
    python load_tests/stream_latency.py --database-url postgresql://… --broker-url amqp://…
    python load_tests/stream_latency.py --tasks 1000 --pieces 24 --interval-ms 2500   # 1,000 readers at once
    python load_tests/stream_latency.py --url http://…:8000   # a running one, which has the agent that this prints

The script is the model: it says words at a steady pace, which it numbers as soon as every stream has its reader, and
notes when. First it reads its own streams, then the same through the system. Both ends are this process, so one clock
tells both times. How busy it was itself, it says as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx2
from harness import PREFIX, Figure, at, parsed, parser, system, tell

AGENT = "stream-latency"
KEY = os.environ.get("LOAD_API_KEY") or os.environ.get("OPS_CORE_API_KEY")
#: How long it may take besides the words themselves: until every stream has its reader, and until all have ended.
PATIENCE_SECONDS = 600.0
#: So many come at once. Before they can read, a crowd would wait for each other, which is not what is measured.
AT_THE_DOOR = 20
#: What event streams ask of their readers.
RECONNECT_SECONDS = 1.0
_WORD = re.compile(r"w(\d+);")


class Model:
    """A model server that says a word every `interval` seconds in each stream. From `begin` on it numbers them, and
    notes when it said each. All streams end when the last has said its share: ends are not what is measured."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._streams = self._pieces = self._left = 0
        self._has_begun = False
        #: All the streams are there.
        self.is_asked = asyncio.Event()
        #: When each numbered word of each stream was said.
        self.said: dict[str, list[float]] = {}

    def expect(self, *, streams: int, pieces: int) -> None:
        """So many streams are to come, and to say so many numbered words each."""
        self._streams, self._pieces, self._left = streams, pieces, streams * pieces
        self._has_begun = False
        self.is_asked.clear()
        self.said = {}

    def begin(self) -> None:
        self._has_begun = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = re.search(r"content-length: (\d+)", head)
                body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
                await self._answer(str(body["messages"][-1]["content"]), writer)
        writer.close()

    async def _answer(self, stream: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        said = self.said[stream] = []
        if len(self.said) == self._streams:
            self.is_asked.set()
        # Models do not speak in time with each other.
        next_at = time.perf_counter() + random.uniform(0, self.interval)
        while self._left > 0:
            await asyncio.sleep(next_at - time.perf_counter())
            next_at += self.interval
            word = "well "
            if self._has_begun and len(said) < self._pieces:
                word = f"w{len(said)};"
                said.append(time.perf_counter())
                self._left -= 1
            _write(writer, {"choices": [{"index": 0, "delta": {"content": word}}]})
            await writer.drain()
        _write(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        _write(writer, {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": self._pieces}})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()


def _write(writer: asyncio.StreamWriter, chunk: object) -> None:
    event = f"data: {json.dumps(chunk)}\n\n".encode()
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


@dataclass
class Reading:
    """What the reader of one stream has had."""

    is_connected: asyncio.Event = field(default_factory=asyncio.Event)
    #: When each word came.
    came: dict[int, float] = field(default_factory=dict)
    #: The numbers of the task's events, and the type of the last.
    events: set[int] = field(default_factory=set)
    last_type: str = ""
    reconnects: int = 0

    def take(self, text: str) -> None:
        now = time.perf_counter()
        for word in _WORD.findall(text):
            self.came.setdefault(int(word), now)

    def take_line(self, line: str) -> None:
        """Of a task's event stream."""
        name, _, value = line.partition(": ")
        if name == "id":
            self.events.add(int(value))
        elif name == "event":
            self.last_type = value
        elif name == "data" and self.last_type in ("text", "llm.completed"):
            # The result has what was not told before: it is late then, and not missed.
            self.take(value)

    @property
    def is_ended(self) -> bool:
        return self.last_type in ("task.completed", "task.failed")

    def missed_events(self) -> int:
        """Gaps in their numbers."""
        return max(self.events, default=0) - len(self.events)


#: Makes the connection of one reader. All in one pool would cost seconds of our own whenever hundreds of them end.
Connect = Callable[[], httpx2.AsyncClient]
Read = Callable[[Connect, str, str, Reading], Coroutine[None, None, None]]


async def read_directly(connect: Connect, url: str, stream: str, reading: Reading) -> None:
    """From the model itself."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": stream}]}
    async with connect() as http, http.stream("POST", f"{url}/chat/completions", json=body) as answer:
        reading.is_connected.set()
        async for line in answer.aiter_lines():
            reading.take(line)


async def read_through(connect: Connect, url: str, stream: str, reading: Reading) -> None:
    """From a task's event stream."""
    body = {"agent": AGENT, "goal": stream, "stream": True}
    async with connect() as http:
        task = (await http.post(f"{url}{PREFIX}/tasks", json=body)).raise_for_status().json()
        while True:
            await _read_events(http, f"{url}{PREFIX}/tasks/{task['id']}/events", reading)
            if reading.is_ended:
                return
            reading.reconnects += 1
            await asyncio.sleep(RECONNECT_SECONDS)


async def _read_events(http: httpx2.AsyncClient, url: str, reading: Reading) -> None:
    """Go on where it was, until the stream ends."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(max(reading.events, default=0))}
    async with http.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 503:  # come back later
            return
        answer.raise_for_status()
        reading.is_connected.set()
        async for line in answer.aiter_lines():
            reading.take_line(line)


@dataclass(frozen=True)
class Heard:
    """What the readers of some streams have had, all together."""

    delays_ms: Sequence[float]
    missed_pieces: int
    missed_events: int
    reconnects: int
    #: CPU of this process, in cores, while they read.
    cpu_share: float


async def hear(model: Model, read: Read, connect: Connect, url: str, streams: Sequence[str], pieces: int) -> Heard:
    """Read all the streams at the same time, from before their first numbered word to their end.

    Raises:
        TimeoutError: one has no reader, or no end.
    """
    model.expect(streams=len(streams), pieces=pieces)
    readings = {stream: Reading() for stream in streams}
    async with asyncio.timeout(PATIENCE_SECONDS + pieces * model.interval), asyncio.TaskGroup() as readers:
        for first in range(0, len(streams), AT_THE_DOOR):
            those = streams[first : first + AT_THE_DOOR]
            for stream in those:
                readers.create_task(read(connect, url, stream, readings[stream]))
            for stream in those:
                await readings[stream].is_connected.wait()
        await model.is_asked.wait()
        began, used = time.perf_counter(), time.process_time()
        model.begin()
    cpu_share = (time.process_time() - used) / (time.perf_counter() - began)
    delays = [
        1000 * (came - model.said[stream][number])
        for stream, reading in readings.items()
        for number, came in reading.came.items()
    ]
    missed_events = sum(reading.missed_events() for reading in readings.values())
    reconnects = sum(reading.reconnects for reading in readings.values())
    return Heard(delays, pieces * len(streams) - len(delays), missed_events, reconnects, cpu_share)


def agent_file(model_url: str) -> str:
    model = f"model: {{provider: openai-compatible, name: m, base_url: '{model_url}'}}\n"
    return f"{model}planner: one_call\nlimits: {{llm_seconds: 3600, seconds: 3600}}\n"


async def measure(options: argparse.Namespace) -> tuple[Heard, Heard]:
    """Directly, and through the system."""
    model = Model(options.interval_ms / 1000)
    server = await asyncio.start_server(model.serve, "127.0.0.1", options.model_port, backlog=1024)
    model_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    connect = partial(httpx2.AsyncClient, timeout=120, headers=headers, verify=ssl.create_default_context())
    with contextlib.ExitStack() as stack:
        if options.url is None:
            under_test = stack.enter_context(system(options))
            under_test.add_agent(AGENT, agent_file(model_url))
            await asyncio.to_thread(under_test.start_all_but_workers)
            under_test.start_worker(concurrency=2 * options.tasks)
            url = under_test.url
        else:
            url = options.url.rstrip("/")
            print(f"the system must have the agent {AGENT}:\n{agent_file(model_url)}")
        await hear(model, read_through, connect, url, ["warm-up 0", "warm-up 1"], pieces=3)
        streams = [f"stream {number}" for number in range(options.tasks)]
        direct = await hear(model, read_directly, connect, model_url, streams, options.pieces)
        heard = await hear(model, read_through, connect, url, streams, options.pieces)
    server.close()
    return direct, heard


def report(options: argparse.Namespace, direct: Heard, heard: Heard) -> None:
    print(f"{options.tasks:,} streams of {options.pieces} words, one every {options.interval_ms:g} ms")
    print(f"{'':24}{'p50':>10}{'p99':>10}")
    for name, one in (("from the model, ms", direct), ("through the system, ms", heard)):
        print(f"{name:24}{at(one.delays_ms, 0.5):10.1f}{at(one.delays_ms, 0.99):10.1f}")
    added = [at(heard.delays_ms, share) - at(direct.delays_ms, share) for share in (0.5, 0.99)]
    print(f"{'added, ms':24}{added[0]:10.1f}{added[1]:10.1f}")
    print(f"missed                  {heard.missed_pieces:,} words, {heard.missed_events:,} events")
    print(f"reconnected             {heard.reconnects:,} times")
    print(f"this process used       {direct.cpu_share:.2f} and {heard.cpu_share:.2f} cores meanwhile")
    tell(
        options,
        [
            Figure("added p50", "ms", added[0]),
            Figure("added p99", "ms", added[1]),
            Figure("missed", "pieces", heard.missed_pieces),
            Figure("missed-events", "events", heard.missed_events),
            Figure("re-connects", "times", heard.reconnects),
            Figure("from-model-p50", "ms", at(direct.delays_ms, 0.5)),
            Figure("from-model-p99", "ms", at(direct.delays_ms, 0.99)),
            Figure("through-p50", "ms", at(heard.delays_ms, 0.5)),
            Figure("through-p99", "ms", at(heard.delays_ms, 0.99)),
            Figure("cpu-script", "cores", heard.cpu_share),
        ],
    )


def main() -> None:
    made = parser(__doc__, tasks=5)
    made.add_argument("--url", help="a running system; left out: one is started")
    made.add_argument("--pieces", type=int, default=150, help="words of each (default: %(default)s)")
    made.add_argument("--interval-ms", type=float, default=25.0, help="between two words (default: %(default)s)")
    made.add_argument("--model-port", type=int, default=0, help="where this serves the model; 0: any")
    options = parsed(made)
    try:
        direct, heard = asyncio.run(measure(options))
    except* (httpx2.HTTPError, TimeoutError) as failed:
        sys.exit(f"a reader could not read: {failed.exceptions[0]!r}")
    report(options, direct, heard)


if __name__ == "__main__":
    main()
