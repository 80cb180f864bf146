"""What stands at the head of a request, in HTTP's headers as in gRPC's metadata: its id, its trace, its API key."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import uuid4

from ops_core.domain.caller import Caller
from ops_core.errors import Unauthenticated
from ops_core.services.submission import is_traceparent
from ops_core.wire.api_keys import ApiKey, find_caller

#: Looks a header up by its name in lower case.
Header: TypeAlias = Callable[[str], str | None]

REQUEST_ID = "x-request-id"
# It is written into logs and answers as it is.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class RequestIds:
    """Names of a request, for logs and traces."""

    request_id: str
    #: W3C trace context.
    traceparent: str

    @property
    def trace_id(self) -> str:
        return self.traceparent.split("-")[1]


def request_ids(header: Header) -> RequestIds:
    """The client's own where they can be used, or else new ones: no request fails for them (W3C asks for that too)."""
    request_id, traceparent = header(REQUEST_ID) or "", (header("traceparent") or "").strip()
    return RequestIds(
        request_id if _REQUEST_ID.fullmatch(request_id) else uuid4().hex,
        traceparent if is_traceparent(traceparent) else f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
    )


class KeyCheck:
    """Knows callers by their keys; where there are no keys everybody may do everything."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    def caller(self, header: Header) -> Caller:
        """Raises:
        Unauthenticated: a key is wanted, and the request has none or one that nobody has.
        """
        if not self._keys:
            return Caller()
        key = _presented_key(header)
        if key is None:
            raise Unauthenticated("Send the API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`.")
        caller = find_caller(self._keys, key)
        if caller is None:
            raise Unauthenticated(
                "The API key is none of those this server was started with (OPS_CORE_API_KEY, OPS_CORE_API_KEYS)."
            )
        return caller


def _presented_key(header: Header) -> str | None:
    scheme, _, token = (header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return header("x-api-key") or None
