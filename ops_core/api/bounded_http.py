"""One HTTP/1.1 connection with bounds that uvicorn lacks: on the time of a request and the size of its head."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Request line and headers together.
MAX_HEAD_BYTES = 64 * 1024
#: Time a client has for the whole of a request, from its connection or its first byte to the last one of its body.
REQUEST_SECONDS = 60.0


class _HeadTooLarge(Exception):
    """The parser turns it into an error of its own, and that one is answered with 400."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with two bounds, so that slow or endless requests cannot fill the server."""

    _deadline: asyncio.TimerHandle | None = None
    #: Bytes of a head that has not come whole yet, those of its first piece aside; None once it has.
    _head_bytes: int | None = 0
    _requests = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_has_come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._requests
        super().data_received(data)
        if self._head_bytes is not None and self._requests == before:
            # The parser itself keeps whatever comes of a header that does not end.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._requests += 1
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._request_has_come()
        super().on_message_complete()

    def _expect_request(self) -> None:
        self._head_bytes = 0
        self._request_has_come()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _request_has_come(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
