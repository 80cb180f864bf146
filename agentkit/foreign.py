"""Awaiting code that is not ours, so that only its caller can cancel a run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class CancelledItself(Exception):
    """Foreign code ended as if it were cancelled, though nobody cancelled it."""


async def await_foreign(call: Awaitable[T]) -> T:
    """The result of the call. A cancellation of ours passes through.

    Without this a tool that cancels itself would look like the end of the whole run.

    Raises:
        CancelledItself: the call was cancelled from inside.
    """
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise CancelledItself("it cancelled itself") from None
