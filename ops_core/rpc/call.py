"""What a method is told about the call it serves, apart from the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc.aio

from ops_core.domain.caller import Caller

#: grpc.aio's context of a call; of which messages is said where it matters.
ServicerContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]


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
