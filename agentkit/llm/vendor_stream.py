"""Reads a vendor's streamed reply to its end: the text told piece by piece, the whole put together again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

from agentkit.errors import LlmUnavailable
from agentkit.llm.server_sent_events import ServerSentEvent, ServerSentEvents

if TYPE_CHECKING:
    import httpx2

#: How long to wait, after the end mark, for the end of the body: then the connection can serve the next call.
_AFTERMATH_SECONDS = 0.5


class ReplyPieces(Protocol):
    """One reply in the making. Put together, it has the form in which the vendor sends it unstreamed, so that one
    reader reads both."""

    @property
    def ended(self) -> bool:
        """The vendor has said that nothing follows."""

    @property
    def complete(self) -> bool:
        """Nothing is missing, should the body end here."""

    def add(self, event: ServerSentEvent) -> str:
        """The text that this event adds to the answer.

        Raises:
            LlmError: the event reports one.
            MalformedReply: the event is not in the format.
        """

    def whole(self) -> bytes:
        """The reply, as if it had come in one piece."""


class StreamedReply:
    """Tells the text of one reply while it comes."""

    def __init__(self, provider: str, pieces: ReplyPieces, on_text: Callable[[str], None]) -> None:
        self._provider = provider
        self._pieces = pieces
        self._on_text = on_text
        self._told = False

    async def read(self, response: httpx2.Response) -> bytes:
        """The reply as it would have come unstreamed; also when the vendor did not stream after all.

        Raises:
            LlmUnavailable: the answer was not over when the body ended, or the vendor's end mark came.
            LlmError: an event reports it.
            MalformedReply: an event is not in the format.
        """
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return await response.aread()
        await self._read_events(response.aiter_bytes())
        if not self._pieces.complete:
            raise LlmUnavailable(f"{self._provider} broke off in the middle of its answer")
        return self._pieces.whole()

    async def _read_events(self, chunks: AsyncIterator[bytes]) -> None:
        """To the end mark, or to that of the body."""
        events = ServerSentEvents()
        async for chunk in chunks:
            for event in events.feed(chunk):
                self._tell(self._pieces.add(event))
                if self._pieces.ended:
                    await _read_away(chunks)
                    return

    def tell_if_untold(self, text: str) -> None:
        """The text of a reply that came in one piece."""
        if not self._told:
            self._tell(text)

    def _tell(self, text: str) -> None:
        if text:
            self._told = True
            self._on_text(text)


async def _read_away(chunks: AsyncIterator[bytes]) -> None:
    """A body that is not read to its end costs its connection. Whatever goes wrong now, the answer is there."""
    import httpx2

    try:
        async with asyncio.timeout(_AFTERMATH_SECONDS):
            async for _ in chunks:
                pass
    except (TimeoutError, httpx2.RequestError):
        pass
