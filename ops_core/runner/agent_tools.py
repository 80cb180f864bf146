"""Other agents as tools: each call is a child task, and its result is the call's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from agentkit.errors import BadToolArguments, ToolError, ToolFailed, UnknownTool
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.transcript import JsonObject, JsonValue, ToolCall, ToolResult
from ops_core.domain.agent import Agent
from ops_core.domain.task import TaskStatus
from ops_core.errors import InputSchemaMismatch, InvalidInput
from ops_core.services.input_schema import input_schema_of

#: Before the agent's name in that of its tool.
PREFIX: Final = "agent."
#: Why a child was refused, when the model can do better.
_WRONG_ARGUMENTS = frozenset({InputSchemaMismatch.code, InvalidInput.code})


class AgentTools(BaseToolManager):
    """A tool `agent.<name>` for each of these agents."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._specs = {PREFIX + agent.name: _spec(agent) for agent in agents}

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(self._specs.values())

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if call.name not in self._specs:
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        answer = await context.waits.call_agent(call.name.removeprefix(PREFIX), call.arguments)
        if answer["status"] != TaskStatus.completed:
            raise _failure(call.name, answer)
        return ToolResult(call.id, call.name, _as_text(answer.get("result")))


def _spec(agent: Agent) -> ToolSpec:
    return ToolSpec(
        name=PREFIX + agent.name,
        description=agent.definition.description or f"Give work to the agent {agent.name}, and get its answer.",
        parameters={"type": "object", **input_schema_of(agent.definition)},
        # The call only waits; what the other agent does is journaled in its own task.
        side_effect=False,
    )


def _as_text(result: JsonValue) -> str:
    """What the model reads of a result: its answer, or the JSON where the agent has an output schema."""
    match result:
        case {"answer": answer, "output": None}:
            return str(answer)
        case {"output": output, "answer": _}:
            return json.dumps(output, ensure_ascii=False)
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _failure(tool: str, answer: JsonObject) -> ToolError:
    error = answer.get("error") or {}
    code, message = error.get("code") or answer["status"], error.get("message") or "no reason was given"
    if answer.get("task_id") is None:
        if code in _WRONG_ARGUMENTS:
            return BadToolArguments(f"Wrong arguments for {tool!r}: {message}")
        return ToolFailed(f"{tool!r} was not called ({code}): {message}")
    return ToolFailed(f"{tool!r} has no result: its task was {answer['status']} ({code}): {message}")
