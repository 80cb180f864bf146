"""An event loop on which time passes at once: sleeps, timers and time limits are real, and nobody waits for them."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec

P = ParamSpec("P")


class _HastySelector(selectors.DefaultSelector):
    """Where the loop would wait for a timer, the time is turned forward to it."""

    passed = 0.0
    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None and timeout > 0:
            self.passed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Not for what waits for threads, sockets or processes: the time would be up before they answer."""

    def __init__(self) -> None:
        self.hasty = _HastySelector()
        super().__init__(self.hasty)

    def time(self) -> float:
        return self.hasty.passed


def in_virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run the test on such a loop, from second 0 on."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


def turns_of_the_loop() -> int:
    """How often the loop had something to do."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.hasty.turns


async def settled() -> None:
    """Everybody has done what can be done without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def outcome(call: Awaitable[Any]) -> Any:
    """What came of it: the result or the error."""
    return (await asyncio.gather(call, return_exceptions=True))[0]
