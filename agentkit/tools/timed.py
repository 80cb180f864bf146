"""A set of tools of which some must finish sooner than the run's time limit for calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from agentkit.errors import ConfigurationError, ToolTimeout
from agentkit.tools.base import BaseToolManager, ToolContext
from agentkit.tools.wrapper import ToolWrapper
from agentkit.transcript import ToolCall, ToolResult


class TimedTools(ToolWrapper):
    """Gives a call the seconds of the first pattern that its name fits, never more than the run gives it.

    The time that a call waits for a person, a signal or an agent is not counted: such a call is made anew.
    """

    def __init__(self, inner: BaseToolManager, seconds: Mapping[str, float]) -> None:
        """
        Args:
            seconds: Time limit by pattern (`{"search.*": 5, "*": 20}`), looked at in this order.

        Raises:
            ConfigurationError: a time limit is not greater than 0.
        """
        super().__init__(inner)
        self._seconds = dict(seconds)
        for pattern, limit in self._seconds.items():
            if not limit > 0:
                raise ConfigurationError(f"the time limit of tools {pattern!r} must be greater than 0, not {limit}")

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        fitting = (limit for pattern, limit in self._seconds.items() if fnmatchcase(call.name, pattern))
        return await call_within(next(fitting, context.timeout_seconds), self._inner, call, context)


async def call_within(seconds: float, inner: BaseToolManager, call: ToolCall, context: ToolContext) -> ToolResult:
    """Make the call with at most so many seconds, or fewer when the run gives it fewer.

    Raises:
        ToolTimeout: they are over.
    """
    own = replace(context, timeout_seconds=min(seconds, context.timeout_seconds))
    try:
        async with asyncio.timeout(own.timeout_seconds) as limit:
            return await inner.call(call, own)
    except TimeoutError as error:
        # A tool may raise a TimeoutError of its own, which is a failure like any other.
        if not limit.expired():
            raise
        raise ToolTimeout(f"The tool {call.name!r} did not finish within {own.timeout_seconds:g} s.") from error
