"""Runs one check of a contract suite on an event loop of its own, so that the suites need no plugin of pytest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

#: Longer than this nothing in a suite takes: what does hangs.
LONGEST_CHECK_SECONDS = 300.0


def run_check(check: Coroutine[Any, Any, None]) -> None:
    """Run it to its end.

    Raises:
        AssertionError: it hangs.
    """

    async def within_time() -> None:
        try:
            async with asyncio.timeout(LONGEST_CHECK_SECONDS) as limit:
                await check
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise AssertionError(f"it was not done after {LONGEST_CHECK_SECONDS:g} s") from error

    # With a factory the runner leaves the thread's own loop alone, which is that of the tests around it.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(within_time())
