"""A server that speaks the wire formats of the models' vendors, refuses what they would refuse, and counts.

    async with VendorServer() as server:
        server.then(Call((("add", {"a": 1}),)), Say("2"))
        client = OpenAiChatClient("m", api_key=server.key, base_url=server.base_url("openai"))

Without a script it answers "Hello"; the models `react-<steps>…` act as agents (see `script.react_step`). It streams
when it is asked to.
As a process of its own: `python -m agentkit.tests.llm.vendor_server --port 8090`; `GET /stats` tells the counts.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
from collections import Counter, deque
from types import TracebackType
from typing import Self

from agentkit.tests.llm.anthropic_wire import AnthropicWire
from agentkit.tests.llm.gemini_wire import GeminiWire
from agentkit.tests.llm.http_server import HttpServer, Reply, Request, json_reply
from agentkit.tests.llm.openai_wire import OpenAiWire
from agentkit.tests.llm.responses_wire import ResponsesWire
from agentkit.tests.llm.script import Answer, Asked, Broken, Fail, FailWhileStreaming, Rejected, Say, Step, react_step

_BASE_URLS = {
    "openai": "/openai/v1",
    "openrouter": "/openrouter/api/v1",
    "compatible": "/compatible/v1",
    "openai-responses": "/openai-responses/v1",
    "anthropic": "/anthropic",
    "gemini": "/gemini",
}


class VendorServer:
    """All vendors on one port, told apart by path."""

    key = "sk-test-0123456789abcdef"

    def __init__(self, port: int = 0) -> None:
        self._http = HttpServer(self._count_and_answer, port)
        self._wires: tuple[OpenAiWire | ResponsesWire | AnthropicWire | GeminiWire, ...] = (
            OpenAiWire("openai", _BASE_URLS["openai"]),
            OpenAiWire("openrouter", _BASE_URLS["openrouter"]),
            OpenAiWire("compatible", _BASE_URLS["compatible"]),
            ResponsesWire(_BASE_URLS["openai-responses"]),
            AnthropicWire(_BASE_URLS["anthropic"]),
            GeminiWire(_BASE_URLS["gemini"]),
        )
        self._script: deque[Step] = deque()
        #: The last requests the vendors accepted.
        self.requests: deque[Asked] = deque(maxlen=1000)
        #: Accepted requests by model.
        self.calls: Counter[str] = Counter()
        #: Every request to a vendor, accepted or not.
        self.received = 0
        self.in_flight = 0
        self.most_in_flight = 0

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, exc, traceback)

    def base_url(self, vendor: str) -> str:
        """openai, openrouter, compatible, openai-responses, anthropic or gemini."""
        return self._http.url + _BASE_URLS[vendor]

    def then(self, *steps: Step) -> None:
        """What to do on the next requests, in order."""
        self._script.extend(steps)

    def forget_script(self) -> None:
        """Whatever is left of it."""
        self._script.clear()

    def rendered(self, step: Answer, asked: Asked) -> Reply:
        """What its vendor would have answered to a request it got, for tests that spoil it."""
        return next(wire for wire in self._wires if wire.vendor == asked.vendor).render(step, asked)

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return self._http.accepted

    @property
    def script_left(self) -> int:
        """How many steps of the script nobody has asked for yet."""
        return len(self._script)

    @property
    def hanging(self) -> int:
        """Requests that are never answered, and whose client still waits."""
        return self._http.hanging

    @property
    def hung_up(self) -> int:
        """Requests that were never answered, and whose client has hung up."""
        return self._http.hung_up

    async def _count_and_answer(self, request: Request) -> Reply:
        if request.path == "/stats":
            return json_reply({"received": self.received, "calls": self.calls, "most_in_flight": self.most_in_flight})
        self.received += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self._answer(request)
            # Waited for here, so that it counts as in flight.
            await asyncio.sleep(reply.delay_seconds)
            return dataclasses.replace(reply, delay_seconds=0.0)
        finally:
            self.in_flight -= 1

    def _answer(self, request: Request) -> Reply:
        wire = next((wire for wire in self._wires if request.path.startswith(wire.prefix + "/")), None)
        if wire is None:
            return Reply(404)
        try:
            asked = wire.accept(request, self.key)
        except Rejected as exc:
            return wire.fail(Fail(exc.fault, str(exc)))
        self.requests.append(asked)
        self.calls[asked.model] += 1
        agent = react_step(asked)
        if agent is not None:
            return dataclasses.replace(
                wire.render(agent.step, asked),
                delay_seconds=agent.delay_seconds,
                piece_delay_seconds=agent.piece_delay_seconds,
            )
        step = self._script.popleft() if self._script else Say()
        match step:
            case Reply():
                return step
            case Fail():
                return wire.fail(step)
            case FailWhileStreaming(fault, message):
                begun = wire.render(Say("Once upon a time"), asked)
                return dataclasses.replace(begun, pieces=(*begun.pieces[:2], wire.fail_event(Fail(fault, message))))
            case Broken():
                return _break_off(wire.render(step.step, asked), step)
            case _:
                return wire.render(step, asked)


def _break_off(reply: Reply, broken: Broken) -> Reply:
    left = len(reply.pieces) - broken.missing
    assert left > 0, "only a streamed answer can break off"
    match broken.how:
        case "cut":
            return dataclasses.replace(reply, cut_after_pieces=left)
        case "stall":
            return dataclasses.replace(reply, stall_after_pieces=left)
        case "end":
            return dataclasses.replace(reply, pieces=reply.pieces[:left])


async def _main(port: int) -> None:
    async with VendorServer(port) as server:
        for vendor in _BASE_URLS:
            sys.stdout.write(f"{vendor}: {server.base_url(vendor)}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=8090)
    asyncio.run(_main(parser.parse_args().port))
