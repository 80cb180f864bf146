"""What surrounds every request: its id, its trace context, its log line, and the answer when all else failed."""

from __future__ import annotations

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops_core.api.errors import problem_response
from ops_core.errors import OpsCoreError
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.request_head import request_ids


class RequestScope:
    """Outermost middleware of ours. Takes `X-Request-Id` and `traceparent` from the client, or makes them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ids = request_ids(Headers(scope=scope).get)
        scope.setdefault("state", {}).update(request_id=ids.request_id, traceparent=ids.traceparent)
        with structlog.contextvars.bound_contextvars(request_id=ids.request_id, trace_id=ids.trace_id):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        state, started_at = scope["state"], time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = state["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            # Nobody is left to answer.
            pass
        except Exception:  # the door: what nobody foresaw is logged here, once, and answered
            self._log.exception(LogEvent.request_failed, method=scope["method"], path=scope["path"])
            if status:
                # The answer has begun; only breaking off tells the client that it is not whole.
                raise
            error = OpsCoreError(
                f"Something went wrong on our side. The log says more under request id {state['request_id']}."
            )
            answer = problem_response(error, path=scope["path"], request_id=state["request_id"])
            await answer(scope, receive, send_with_id)
        finally:
            # What changes a task has a line of its own; looking at tasks is of interest when something is wrong.
            level = "debug" if 200 <= status < 400 else "info"
            getattr(self._log, level)(
                LogEvent.request_served,
                method=scope["method"],
                path=scope["path"],
                status=status or None,
                error_code=state.get("error_code"),
                milliseconds=round((time.perf_counter() - started_at) * 1_000, 1),
            )
