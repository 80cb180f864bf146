"""An agent as a tool of another: each call is a run of its own, and its answer is the call's result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic_core import to_json

from agentkit.agent import Agent
from agentkit.errors import AgentkitError, LlmError, OutcomeUnknown, StepMismatch, ToolFailed, WaitAnswerInvalid
from agentkit.report import Finished, LimitReached, RunReport
from agentkit.tools.base import OnUnknown, ToolContext
from agentkit.tools.function import FunctionTool
from agentkit.waits import RunSuspended

#: Before the agent's name in that of its tool.
PREFIX = "agent."
#: Agents that call each other in a circle would otherwise go on until the outermost call is out of time.
_DEEPEST = 5
_depth: ContextVar[int] = ContextVar("depth of agents within calls of agents", default=0)


def agent_tool(
    make_agent: Callable[[ToolContext], Agent],
    name: str,
    description: str = "",
    *,
    side_effect: bool = True,
    on_unknown: OnUnknown = OnUnknown.ask,
) -> FunctionTool[..., object]:
    """The tool `agent.<name>`, which gives a goal to another agent and gets its answer.

    The call's time bounds the other agent's limits. It runs under the call's idempotency key, the same for every try
    of the call. Once the call has a result a replay takes that and runs no agent. A call that was broken off begins the
    other agent's run anew, unless `make_agent` gives it a journal that it finds again by `context.idempotency_key`:
    then that run goes on where it stopped, and the tool may be declared `on_unknown=OnUnknown.retry`.

    An agent within a call cannot wait (for a person, an approval, a signal): a call of which the run would stop there
    fails and says so. Agents call each other at most five deep.

    Args:
        make_agent: Called for each call. It may give back the same agent each time, if that has no memory or journal.
        side_effect: False only when no tool of the other agent has one.

    Raises:
        ConfigurationError: `on_unknown` or the name is no good.
    """

    async def give_work(
        goal: Annotated[str, Field(min_length=1, description="What the agent is to do; it knows nothing else.")],
        context: ToolContext,
    ) -> str:
        with _one_deeper(name):
            return _answer(name, await _run(make_agent, goal, context, name))

    return FunctionTool(
        give_work,
        name=PREFIX + name,
        description=description or f"Give work to the agent {name}, and get its answer.",
        side_effect=side_effect,
        on_unknown=on_unknown,
    )


@contextmanager
def _one_deeper(name: str) -> Iterator[None]:
    depth = _depth.get()
    if depth >= _DEEPEST:
        raise ToolFailed(f"The agent {name!r} was not called: agents call each other {_DEEPEST} deep already.")
    token = _depth.set(depth + 1)
    try:
        yield
    finally:
        _depth.reset(token)


async def _run(make_agent: Callable[[ToolContext], Agent], goal: str, context: ToolContext, name: str) -> RunReport:
    agent = _bounded(make_agent(context), context.timeout_seconds)
    try:
        return await agent.run(goal, run_id=context.idempotency_key)
    except RunSuspended as stopped:
        kinds = ", ".join(sorted({wait.kind.value for wait in stopped.waits}))
        raise ToolFailed(
            f"The agent {name!r} has no result: it would have to wait ({kinds}), which it cannot do within a call. "
            "What it had done before has been done."
        ) from stopped
    # Of the other run, not of this one: they must not end it. That a run may not act any more is true of both.
    except (LlmError, OutcomeUnknown, StepMismatch, WaitAnswerInvalid) as error:
        raise _failed(name, error) from error


def _bounded(agent: Agent, seconds: float) -> Agent:
    """A copy, since the agent may be in other calls at the same time."""
    limits = agent.limits
    bounded = copy.copy(agent)
    bounded.limits = replace(
        limits,
        seconds=min(limits.seconds, seconds),
        llm_seconds=min(limits.llm_seconds, seconds),
        tool_seconds=min(limits.tool_seconds, seconds),
    )
    return bounded


def _answer(name: str, report: RunReport) -> str:
    match report.outcome:
        case Finished(answer, None):
            return answer
        case Finished(_, output):
            return to_json(output).decode()
        case LimitReached(limit, detail):
            raise ToolFailed(f"The agent {name!r} has no result: it reached its limit of {limit}: {detail}.")


def _failed(name: str, error: AgentkitError) -> ToolFailed:
    return ToolFailed(f"The agent {name!r} has no result ({error.code}): {error}")
