"""Who calls: the API key in a call's metadata, and the caller it stands for."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import TypeAlias

from ops_core.domain.caller import Caller
from ops_core.errors import Unauthenticated

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


class ApiKeyAuthentication:
    """One key for everything; without a key everybody may do everything."""

    def __init__(self, api_key: str | None) -> None:
        self._api_key = None if api_key is None else api_key.encode()

    def caller(self, metadata: Metadata) -> Caller:
        """Raises:
        Unauthenticated: a key is wanted, and the call has none or another one.
        """
        if self._api_key is None:
            return Caller()
        key = _presented_key(metadata)
        if key is None:
            raise Unauthenticated(
                "This server wants an API key: send metadata `authorization: Bearer <key>` or `x-api-key: <key>`."
            )
        if not hmac.compare_digest(key.encode(), self._api_key):
            raise Unauthenticated("The API key is not the one this server was started with (OPS_CORE_API_KEY).")
        return Caller(subject="api-key")


def _presented_key(metadata: Metadata) -> str | None:
    for name, value in metadata:
        if not isinstance(value, str):
            continue
        if name == "x-api-key":
            return value
        if name == "authorization":
            scheme, _, key = value.partition(" ")
            return key.strip() if scheme.lower() == "bearer" else None
    return None
