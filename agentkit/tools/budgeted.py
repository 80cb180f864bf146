"""A set of tools that one run can use only so much: calls, seconds, bytes of results."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agentkit.errors import ConfigurationError, ToolError
from agentkit.observations import cut_to_bytes
from agentkit.tools.base import BaseToolManager, ToolContext
from agentkit.tools.timed import call_within
from agentkit.tools.wrapper import ToolWrapper
from agentkit.transcript import ToolCall, ToolResult

#: Runs whose spending is remembered. The one that called longest ago is forgotten first: it has ended, or waits.
_RUNS_REMEMBERED = 10_000


@dataclass(slots=True)
class _Spent:
    """What one run has used."""

    #: The calls made, by step: one that waited is made again, and is still the same call.
    steps: set[str] = field(default_factory=set)
    seconds: float = 0.0
    result_bytes: int = 0


class BudgetedTools(ToolWrapper):
    """All tools of `inner` together may be used this much in one run; then each call tells the model that it is over.

    Put it around some of the tools (`AllowedTools`) to give these a budget of their own. A call gets at most the
    seconds that are left, and of its result at most the bytes that are left; calls made at the same time each get
    what is left when they begin, so together they can take more seconds than the budget.

    Spending is kept in memory, by run id. A run that is resumed does not make its finished calls again, so they are
    not counted twice. One that is resumed in another process begins with a whole budget, since nobody there has seen
    what it spent: what must hold across processes belongs into the run's `Limits`, which count replayed steps.
    """

    def __init__(
        self,
        inner: BaseToolManager,
        *,
        calls: int | None = None,
        seconds: float | None = None,
        result_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """None is no limit.

        Raises:
            ConfigurationError: a limit is not greater than 0.
        """
        super().__init__(inner)
        for name, limit in (("calls", calls), ("seconds", seconds), ("result_bytes", result_bytes)):
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"the budget of {name} must be greater than 0, not {limit}")
        self._calls = calls
        self._seconds = seconds
        self._result_bytes = result_bytes
        self._clock = clock
        self._spent: OrderedDict[str, _Spent] = OrderedDict()

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        spent = self._spent_by(context.run_id)
        self._require_some_left(spent, call, context)
        spent.steps.add(context.step_key)
        seconds = context.timeout_seconds if self._seconds is None else self._seconds - spent.seconds
        started = self._clock()
        try:
            result = await call_within(seconds, self._inner, call, context)
        finally:
            spent.seconds += self._clock() - started
        return self._charged(spent, result)

    def _spent_by(self, run_id: str) -> _Spent:
        spent = self._spent.setdefault(run_id, _Spent())
        self._spent.move_to_end(run_id)
        if len(self._spent) > _RUNS_REMEMBERED:
            self._spent.popitem(last=False)
        return spent

    def _require_some_left(self, spent: _Spent, call: ToolCall, context: ToolContext) -> None:
        """Raises:
        ToolError: nothing is left of something.
        """
        over: str | None = None
        if self._calls is not None and len(spent.steps - {context.step_key}) >= self._calls:
            over = f"{self._calls} calls"
        elif self._seconds is not None and spent.seconds >= self._seconds:
            over = f"{self._seconds:g} s"
        elif self._result_bytes is not None and spent.result_bytes >= self._result_bytes:
            over = f"{self._result_bytes} bytes of results"
        if over is not None:
            raise ToolError(
                f"The tool {call.name!r} was not called: the budget of this run for it, {over}, is used up. "
                "Go on without it."
            )

    def _charged(self, spent: _Spent, result: ToolResult) -> ToolResult:
        if self._result_bytes is None:
            return result
        left = max(self._result_bytes - spent.result_bytes, 0)
        spent.result_bytes += len(result.content.encode("utf-8", "replace"))
        return replace(result, content=cut_to_bytes(result.content, left))
