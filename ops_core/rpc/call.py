"""What a method is told about the call it serves, apart from the request."""

from __future__ import annotations

import re
import secrets
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
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authenticated call."""

    caller: Caller
    #: W3C trace context: the client's, or the root of a new trace.
    traceparent: str
    context: ServicerContext

    def seconds_left(self) -> float | None:
        """Time until the client's deadline; None when it has set none."""
        return self.context.time_remaining()


@dataclass(frozen=True, slots=True)
class CallIds:
    """Names of a call, for logs and traces."""

    request_id: str
    traceparent: str

    @staticmethod
    def from_metadata(metadata: Metadata) -> CallIds:
        """The client's own where they can be used, or else new ones: a call never fails for them."""
        given = {key: value for key, value in metadata if isinstance(value, str)}
        request_id, traceparent = given.get(REQUEST_ID_KEY, ""), given.get("traceparent", "")
        return CallIds(
            request_id if _REQUEST_ID.fullmatch(request_id) else uuid4().hex,
            traceparent if is_traceparent(traceparent) else f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        )

    @property
    def trace_id(self) -> str:
        return self.traceparent.split("-")[1]
