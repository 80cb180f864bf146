"""Who may come in: the API key when one is set, and on a loopback address without one only pages of our own."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ops_core.api.errors import problem_response
from ops_core.domain.caller import Caller
from ops_core.errors import OpsCoreError, PermissionDenied, Unavailable
from ops_core.wire.api_keys import ApiKey
from ops_core.wire.request_head import KeyCheck

#: Names under which a loopback address is reached by right. Another name in `Host` means DNS rebinding.
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/openapi.json", "/docs"})
_OPEN_PREFIX = "/errors/"


class Gate:
    """Sets the caller of a request, or answers 401, 403 or 503.

    `keys`: every operation wants one of them; probes and documentation stay open.
    `allowed_hosts`: when given, `Host` and `Origin` must name one of them, so that no web page the user happens to
    visit can drive a server that asks for no key.
    `max_requests`: so many operations at once, streams and waits included; more are told to come back.
    """

    def __init__(
        self, app: ASGIApp, *, keys: Sequence[ApiKey], allowed_hosts: frozenset[str] | None, max_requests: int
    ) -> None:
        self._app = app
        self._key_check = KeyCheck(keys)
        self._allowed_hosts = allowed_hosts
        self._max_requests = max_requests
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        self._requests += 1
        try:
            state["caller"] = self._admitted(scope["path"], Headers(scope=scope))
        except OpsCoreError as error:
            state["error_code"] = error.code
            answer = problem_response(error, path=scope["path"], request_id=state["request_id"])
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1

    def _admitted(self, path: str, headers: Headers) -> Caller:
        if self._allowed_hosts is not None and not self._is_ours(headers):
            raise PermissionDenied(
                "This server has no API key and therefore answers to localhost only. "
                "Call it as localhost or 127.0.0.1, or set OPS_CORE_API_KEY."
            )
        if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX):
            return Caller()
        caller = self._key_check.caller(headers.get)
        if self._requests > self._max_requests:
            raise Unavailable(f"More than {self._max_requests} requests at once: try again in a moment.")
        return caller

    def _is_ours(self, headers: Headers) -> bool:
        assert self._allowed_hosts is not None
        if _host_name("//" + headers.get("host", "")) not in self._allowed_hosts:
            return False
        origin = headers.get("origin")
        return origin is None or _host_name(origin) in self._allowed_hosts


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
