"""Errors to HTTP, in one place: every error leaves as problem details with the status of its kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ops_core import errors
from ops_core.errors import FieldProblem, InvalidInput, MethodNotAllowed, NotFound, OpsCoreError
from ops_core.services.json_shape import escape_pointer
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.problems import MEDIA_TYPE, ProblemOut

#: The status of each kind of error; a kind that is not named has the status of the one above it in the tree.
HTTP_STATUS: Mapping[type[OpsCoreError], int] = {
    OpsCoreError: 500,
    errors.InvalidInput: 422,
    errors.MalformedRequest: 400,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedContentType: 415,
    errors.MethodNotAllowed: 405,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.ApprovalExpired: 410,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.Unavailable: 503,
}
_RETRY_AFTER_SECONDS = "1"


def http_status(kind: type[OpsCoreError]) -> int:
    """The HTTP status of a kind of error."""
    return next(HTTP_STATUS[above] for above in kind.__mro__ if above in HTTP_STATUS)


def problem_response(
    error: OpsCoreError, *, path: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The error as an answer."""
    status = http_status(type(error))
    extra = dict(headers or {})
    if status == 503:
        extra["Retry-After"] = _RETRY_AFTER_SECONDS
    if status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="ops-core"'
    body = ProblemOut.from_error(error, status=status, instance=path, request_id=request_id)
    return Response(body.model_dump_json(), status, extra, MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Make every error that a handler, FastAPI or Starlette raises leave as problem details."""
    app.add_exception_handler(OpsCoreError, _answering(_own))
    app.add_exception_handler(RequestValidationError, _answering(_invalid))
    app.add_exception_handler(HTTPException, _answering(_http))


def _answering(
    translate: Callable[[Request, Exception], tuple[OpsCoreError, Mapping[str, str]]],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, exc: Exception) -> Response:
        error, headers = translate(request, exc)
        # The log line of the request says which error it was.
        request.state.error_code = error.code
        if http_status(type(error)) >= 500:
            get_logger().warning(LogEvent.request_failed, error_code=error.code, detail=error.detail)
        return problem_response(error, path=request.url.path, request_id=request.state.request_id, headers=headers)

    return answer


def _own(_request: Request, exc: Exception) -> tuple[OpsCoreError, Mapping[str, str]]:
    assert isinstance(exc, OpsCoreError)
    return exc, {}


def _invalid(_request: Request, exc: Exception) -> tuple[OpsCoreError, Mapping[str, str]]:
    assert isinstance(exc, RequestValidationError)
    # pydantic may report each item of a huge list.
    problems = [_field_problem(one["loc"], one["type"], one["msg"]) for one in exc.errors()[:20]]
    shown = "; ".join(
        f"`{problem.pointer[1:].replace('/', '.') or 'body'}` {problem.detail}" for problem in problems[:3]
    )
    return InvalidInput(f"{shown}.", problems=problems), {}


def _field_problem(loc: tuple[int | str, ...], kind: str, message: str) -> FieldProblem:
    # The first part says where the field was: body, query, path or header.
    pointer = "".join("/" + escape_pointer(str(part)) for part in loc[1:])
    match kind:
        case "extra_forbidden":
            detail = "is not a field of this request: check its spelling, or leave it out"
        case "model_attributes_type" | "model_type" | "dict_type":
            detail = "must be a JSON object"
        case "missing":
            detail = "is missing"
        case _:
            detail = message.removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return FieldProblem(pointer, detail)


def _http(request: Request, exc: Exception) -> tuple[OpsCoreError, Mapping[str, str]]:
    assert isinstance(exc, HTTPException)
    headers = exc.headers or {}
    match exc.status_code:
        case 404:
            return NotFound(
                f"There is nothing at {request.url.path}. The API is under /api/v1, described at /docs."
            ), {}
        case 405:
            allowed = ", ".join(_allowed_methods(request))
            return MethodNotAllowed(f"{request.method} is not possible here. Possible: {allowed}."), {"Allow": allowed}
        case 413:
            return errors.PayloadTooLarge("The request body is too large."), headers
        case status if status < 500:
            return errors.MalformedRequest(str(exc.detail)), headers
    return OpsCoreError(str(exc.detail)), headers


def _allowed_methods(request: Request) -> list[str]:
    """Starlette names those of the first route of the path only."""
    return [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
