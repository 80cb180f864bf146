"""What a method is told about the call it serves, apart from the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

import grpc.aio

from ops_core.domain.caller import Caller
from ops_core.rpc.authentication import Metadata
from ops_core.services.submission import is_traceparent

#: grpc.aio's context of a call; of which messages is said where it matters.
ServicerContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID_CHARS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authenticated call."""

    caller: Caller
    #: W3C trace context the client sent; None when it sent none that can be used.
    traceparent: str | None
    context: ServicerContext

    def seconds_left(self) -> float | None:
        """Time until the client's deadline; None when it has set none."""
        return self.context.time_remaining()


def request_id_from(metadata: Metadata) -> str:
    """The client's own request id where it is one that can go into logs and headers, or else a new one."""
    given = _text(metadata, REQUEST_ID_KEY)
    if given and len(given) <= _MAX_REQUEST_ID_CHARS and given.isascii() and given.isprintable():
        return given
    return uuid4().hex


def traceparent_from(metadata: Metadata) -> str | None:
    """The client's trace context. A malformed one is left out, as W3C asks: a call never fails for it."""
    given = _text(metadata, "traceparent")
    return given if given is not None and is_traceparent(given) else None


def _text(metadata: Metadata, name: str) -> str | None:
    return next((value for key, value in metadata if key == name and isinstance(value, str)), None)
