"""Who may come in: the API key when one is set, and on a loopback address without one only pages of our own."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ops_core.api.errors import problem_response
from ops_core.domain.caller import Caller
from ops_core.errors import OpsCoreError, PermissionDenied, Unauthenticated

#: Names under which a loopback address is reached by right. Another name in `Host` means DNS rebinding.
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/openapi.json", "/docs"})
_OPEN_PREFIX = "/errors/"


class Gate:
    """Sets the caller of a request, or answers 401 or 403.

    `api_key`: every operation wants it; probes and documentation stay open.
    `allowed_hosts`: when given, `Host` and `Origin` must name one of them, so that no web page the user happens to
    visit can drive a server that asks for no key.
    """

    def __init__(self, app: ASGIApp, *, api_key: str | None, allowed_hosts: frozenset[str] | None) -> None:
        self._app = app
        self._api_key = None if api_key is None else api_key.encode()
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            state = scope["state"]
            error = self._refusal(scope, Headers(scope=scope))
            if error is not None:
                state["error_code"] = error.code
                answer = problem_response(error, path=scope["path"], request_id=state["request_id"])
                await answer(scope, receive, send)
                return
            state["caller"] = Caller() if self._api_key is None else Caller(subject="api-key")
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> OpsCoreError | None:
        path = scope["path"]
        if self._allowed_hosts is not None and not self._is_ours(headers):
            return PermissionDenied(
                "This server has no API key and therefore answers to localhost only. "
                "Call it as localhost or 127.0.0.1, or set OPS_CORE_API_KEY."
            )
        if self._api_key is None or path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX):
            return None
        given = _given_key(headers)
        if given is None:
            return Unauthenticated("Send the API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`.")
        if not hmac.compare_digest(given, self._api_key):
            return Unauthenticated("The API key is not the one this server was started with (OPS_CORE_API_KEY).")
        return None

    def _is_ours(self, headers: Headers) -> bool:
        assert self._allowed_hosts is not None
        if _host_name("//" + headers.get("host", "")) not in self._allowed_hosts:
            return False
        origin = headers.get("origin")
        return origin is None or _host_name(origin) in self._allowed_hosts


def _given_key(headers: Headers) -> bytes | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip().encode("latin-1")
    key = headers.get("x-api-key")
    return key.encode("latin-1") if key else None


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
