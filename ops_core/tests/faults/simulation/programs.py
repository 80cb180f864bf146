"""What the simulated agents do: a goal is a program, and the model reads from it what comes next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.errors import RateLimited
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.transcript import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from ops_core.domain.agent import AgentDefinition, ApprovalRule

AGENT = "sim"
#: One answer of the model: the calls that it makes at once, each the name of an action with an argument.
Turn = Sequence[tuple[str, Any]]

#: Effects that the outside world counts, by what their tool declares.
EFFECTS = ("pay_retry", "pay_ask", "pay_fail")

DEFINITION = AgentDefinition(
    name=AGENT,
    tools=("pay_*", "look", "guarded", "ask_person", "sleep", "wait_for_signal"),
    agents=(AGENT,),
    approvals=(ApprovalRule(tool="guarded", message="May it?", timeout_seconds=600.0),),
    max_attempts=3,
)


@dataclass(frozen=True, slots=True)
class Program:
    """The turns of one agent; after the last it answers."""

    turns: tuple[tuple[tuple[str, Any], ...], ...]

    def goal(self) -> str:
        return json.dumps(self.turns)

    @staticmethod
    def of(goal: str) -> Program:
        turns = json.loads(goal.partition("\n")[0])
        return Program(tuple(tuple((name, value) for name, value in turn) for turn in turns))

    @property
    def names(self) -> set[str]:
        return {name for turn in self.turns for name, _ in turn}


class ProgramLlm(BaseLlmClient):
    """Plays the program of the goal; `rate_limited` says whether this question is turned away."""

    provider = "simulated"
    model = "simulated"

    def __init__(self, gate: Any, rate_limited: Any) -> None:
        self._gate = gate
        self._rate_limited = rate_limited

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] = (),
        output_schema: Any = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        await self._gate("llm")
        if self._rate_limited():
            raise RateLimited("slow down", retry_after_seconds=5.0)
        program = Program.of(next(m.text for m in messages if isinstance(m, UserMessage)))
        turn = sum(isinstance(m, ToolMessage) for m in messages)
        usage = Usage(input_tokens=10, output_tokens=5)
        if turn >= len(program.turns):
            return LlmResponse(AssistantMessage("done"), StopReason.end, usage, self.provider, self.model)
        calls = tuple(_call(f"{turn}-{n}", name, value) for n, (name, value) in enumerate(program.turns[turn]))
        return LlmResponse(AssistantMessage("", calls), StopReason.tool_calls, usage, self.provider, self.model)


def _call(id: str, name: str, value: Any) -> ToolCall:
    match name:
        case "sleep":
            arguments = {"seconds": value}
        case "wait_for_signal":
            arguments = {"name": value}
        case "ask_person":
            arguments = {"question": value}
        case "child":
            return ToolCall(id, f"agent.{AGENT}", {"goal": json.dumps(value)})
        case _:
            arguments = {"what": value}
    return ToolCall(id, name, arguments)
