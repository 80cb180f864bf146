"""Measures how much later than the model says it a reader of a task's event stream has a piece of text.

    python load_tests/stream_latency.py                       # embedded: starts a system of its own
    python load_tests/stream_latency.py --database-url postgresql://… --broker-url amqp://…
    python load_tests/stream_latency.py --url http://…:8000   # a running one, which has the agent that this prints

The script is the model: it says numbered words at a steady pace and notes when. First it reads its own stream, then
the same through the system. Both ends are this process, so one clock tells both times.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import time

import httpx2
from harness import parsed, parser, system

AGENT = "stream-latency"
KEY = os.environ.get("LOAD_API_KEY") or os.environ.get("OPS_CORE_API_KEY")
_WORD = re.compile(r"w(\d+) ")


class Model:
    """A model server that says `pieces` words, `interval` seconds apart, and notes when it said each."""

    def __init__(self, pieces: int, interval: float) -> None:
        self._pieces = pieces
        self._interval = interval
        #: When each word of each stream was said.
        self.said: dict[str, list[float]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = re.search(r"content-length: (\d+)", head)
                body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
                await self._answer(str(body["messages"][-1]["content"]), writer)
        writer.close()

    async def _answer(self, stream: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        said = self.said.setdefault(stream, [])
        began = time.perf_counter()
        for number in range(self._pieces):
            await asyncio.sleep(began + number * self._interval - time.perf_counter())
            said.append(time.perf_counter())
            _write(writer, {"choices": [{"index": 0, "delta": {"content": f"w{number} "}}]})
            await writer.drain()
        _write(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        _write(writer, {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": self._pieces}})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()


def _write(writer: asyncio.StreamWriter, chunk: object) -> None:
    event = f"data: {json.dumps(chunk)}\n\n".encode()
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


async def read_directly(http: httpx2.AsyncClient, url: str, stream: str) -> list[float]:
    """When each word came from the model itself."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": stream}]}
    came: list[float] = []
    async with http.stream("POST", f"{url}/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            came += [time.perf_counter()] * len(_WORD.findall(line))
    return came


async def read_through(http: httpx2.AsyncClient, url: str, stream: str) -> list[float]:
    """When each word came through a task's event stream."""
    body = {"agent": AGENT, "goal": stream, "stream": True}
    task = (await http.post(f"{url}/api/v1/tasks", json=body)).raise_for_status().json()
    came: dict[int, float] = {}
    path, is_text = f"{url}/api/v1/tasks/{task['id']}/events", False
    async with http.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                is_text = line == "event: text"
            elif is_text and line.startswith("data: "):
                now = time.perf_counter()
                for word in _WORD.findall(json.loads(line[6:])["text"]):
                    came.setdefault(int(word), now)
    return [came[number] for number in sorted(came)]


def agent_file(model_url: str) -> str:
    return f"model: {{provider: openai-compatible, name: m, base_url: '{model_url}'}}\nplanner: one_call\n"


def delays_ms(model: Model, came: dict[str, list[float]]) -> list[float]:
    """How much later each word came than it was said.

    Raises:
        SystemExit: words are missing.
    """
    for stream, times in came.items():
        if len(times) != len(model.said[stream]):
            raise SystemExit(f"{stream}: {len(times)} of {len(model.said[stream])} words came")
    pairs = (pair for stream, times in came.items() for pair in zip(model.said[stream], times, strict=True))
    return sorted(1000 * (then - said) for said, then in pairs)


def at(delays: list[float], share: float) -> float:
    return delays[min(len(delays) - 1, int(share * len(delays)))]


async def measure(options: argparse.Namespace) -> None:
    model = Model(options.pieces, options.interval_ms / 1000)
    server = await asyncio.start_server(model.serve, "127.0.0.1", options.model_port)
    model_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    limits = httpx2.Limits(max_connections=None)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=120, limits=limits, headers=headers))
        if options.url is None:
            under_test = stack.enter_context(system(options))
            under_test.add_agent(AGENT, agent_file(model_url))
            await asyncio.to_thread(under_test.start_all_but_workers)
            under_test.start_worker(concurrency=2 * options.tasks)
            url = under_test.url
        else:
            url = options.url.rstrip("/")
            print(f"the system must have the agent {AGENT}:\n{agent_file(model_url)}")
        names = [f"warm-up {n}" for n in range(2)]
        await asyncio.gather(*(read_through(http, url, name) for name in names))
        results = {}
        for way, read, base in (("directly", read_directly, model_url), ("through", read_through, url)):
            names = [f"{way} {number}" for number in range(options.tasks)]
            times = await asyncio.gather(*(read(http, base, name) for name in names))
            results[way] = delays_ms(model, dict(zip(names, times, strict=True)))
    server.close()
    report(options, results["directly"], results["through"])


def report(options: argparse.Namespace, direct: list[float], through: list[float]) -> None:
    print(f"{options.tasks} streams of {options.pieces} words, one every {options.interval_ms:g} ms")
    print(f"{'':24}{'p50':>10}{'p99':>10}")
    for name, delays in (("from the model, ms", direct), ("through the system, ms", through)):
        print(f"{name:24}{at(delays, 0.5):10.1f}{at(delays, 0.99):10.1f}")
    added = [at(through, share) - at(direct, share) for share in (0.5, 0.99)]
    print(f"{'added, ms':24}{added[0]:10.1f}{added[1]:10.1f}")
    ratio = [at(through, share) / max(at(direct, share), 0.001) for share in (0.5, 0.99)]
    print(f"{'ratio':24}{ratio[0]:10.1f}{ratio[1]:10.1f}")


def main() -> None:
    made = parser(__doc__, tasks=5)
    made.add_argument("--url", help="a running system; left out: one is started")
    made.add_argument("--pieces", type=int, default=150, help="words of each (default: %(default)s)")
    made.add_argument("--interval-ms", type=float, default=25.0, help="between two words (default: %(default)s)")
    made.add_argument("--model-port", type=int, default=0, help="where this serves the model; 0: any")
    asyncio.run(measure(parsed(made)))


if __name__ == "__main__":
    main()
