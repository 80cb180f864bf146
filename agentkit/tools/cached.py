"""A set of tools of which some answer the same question from memory for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agentkit.errors import ConfigurationError
from agentkit.journal import MemoryJournal, fingerprint
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.tools.name_patterns import NamePatterns
from agentkit.tools.waits import Waits
from agentkit.tools.wrapper import ToolWrapper
from agentkit.transcript import ToolCall, ToolResult

_REFUSAL = "This tool cannot wait: its results are cached, and what one run is told is no answer to another."


@dataclass(frozen=True, slots=True)
class _Kept:
    content: str
    size: int
    good_until: float


class CachedTools(ToolWrapper):
    """A call of a tool that fits one of the patterns is made once; the same call gets the same result for `seconds`.

    Only tools without a side effect are cached, and only results that are no errors. The cache is shared by all runs:
    a tool whose answer depends on who asks, or on the time, does not belong among the patterns. The same call made
    twice at the same time is made twice.
    """

    def __init__(
        self,
        inner: BaseToolManager,
        patterns: Iterable[str],
        *,
        seconds: float,
        entries: int = 1_000,
        total_bytes: int = 16_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            entries: Results kept; the one that was asked for longest ago goes first.
            total_bytes: All of them together.

        Raises:
            ConfigurationError: a number is not greater than 0.
        """
        super().__init__(inner)
        for name, limit in (("seconds", seconds), ("entries", entries), ("total_bytes", total_bytes)):
            if not limit > 0:
                raise ConfigurationError(f"a cache needs {name} greater than 0, not {limit}")
        self._patterns = NamePatterns(patterns)
        self._seconds = seconds
        self._entries = entries
        self._total_bytes = total_bytes
        self._clock = clock
        #: Tools that may be cached, as of the last time the set was asked.
        self._cacheable: frozenset[str] | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    async def specs(self) -> Sequence[ToolSpec]:
        specs = await self._inner.specs()
        self._cacheable = frozenset(s.name for s in specs if not s.side_effect and self._patterns.fit(s.name))
        return specs

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if self._cacheable is None:
            await self.specs()
        key = _key(call) if call.name in (self._cacheable or ()) else None
        if key is None:
            return await self._inner.call(call, context)
        if (content := self._recalled(key)) is not None:
            return ToolResult(call.id, call.name, content)
        waits = Waits(context.step_key, MemoryJournal(), refusal=_REFUSAL)
        result = await self._inner.call(call, replace(context, waits=waits))
        if not result.is_error:
            self._keep(key, result.content)
        return result

    def _recalled(self, key: str) -> str | None:
        if (kept := self._kept.get(key)) is None:
            return None
        if kept.good_until <= self._clock():
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept.content

    def _keep(self, key: str, content: str) -> None:
        self._forget(key)
        size = len(content.encode("utf-8", "replace"))
        if size > self._total_bytes:
            return
        self._kept[key] = _Kept(content, size, self._clock() + self._seconds)
        self._bytes += size
        while len(self._kept) > self._entries or self._bytes > self._total_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._bytes -= kept.size


def _key(call: ToolCall) -> str | None:
    """None of a call that has no key: its arguments are nested too deeply to be written down."""
    try:
        return fingerprint(call.name, call.arguments)
    except RecursionError:
        return None
