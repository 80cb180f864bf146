"""Records what came of a step, also when its run is cancelled meanwhile: it has been done, and paid for."""

from __future__ import annotations

import asyncio

from agentkit.journal import Journal, StepResult

#: How long a cancelled run may take for it.
_RECORD_SECONDS = 3.0


async def record_even_if_cancelled(journal: Journal, result: StepResult) -> None:
    """Write the result. A cancellation that comes now waits until that is done, or cannot be.

    Raises:
        RunRevoked: this run may not write any more; nothing was written.
    """
    writing = asyncio.ensure_future(journal.record(result))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing], timeout=_RECORD_SECONDS)
        if not writing.cancel() and not writing.cancelled():
            writing.exception()  # looked at: the cancellation is what is told
        raise
