"""Reading JSON bodies: bounded, UTF-8, of the right content type, not too deep, without NaN."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from ops_core.errors import MalformedRequest, PayloadTooLarge, UnsupportedContentType
from ops_core.services.json_shape import is_nested_deeper


class StrictRoute(APIRoute):
    """A route whose JSON body, when it takes one, is read by our rules before FastAPI sees it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read_then_handle(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            if await strict.body():
                await strict.json()
            return await handle(strict)

        return read_then_handle


class DirectRoute(APIRoute):
    """A route whose handler is called with its body, read by our rules, and the request, of which it asks the rest.
    FastAPI describes it and does not serve it: its injection is a fifth of what the HTTP side of a request costs.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, model = self.endpoint, self.body_field and self.body_field.field_info.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)

        async def read_then_handle(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            if not await strict.body():
                raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
            try:
                body = model.model_validate(await strict.json())
            except ValidationError as exc:
                raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in exc.errors()]) from exc
            response: Response = await handle(body, strict)
            return response

        return read_then_handle


class _StrictRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await self._read_at_most(self.app.state.config.max_body_bytes)
        return self._body

    async def _read_at_most(self, limit: int) -> bytes:
        """The body. A declared length is refused unread; one sent in chunks is refused once it runs over."""
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise _too_large(limit)
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
        return bytes(body)

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            _check_content_type(self.headers.get("content-type", ""))
            _check_encoding(self.headers.get("content-encoding", ""))
            self._json = parse_json(await self.body(), max_depth=self.app.state.config.limits.max_json_depth)
        return self._json


def _check_content_type(given: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in given.split(";"))
    charset = next((p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")), "utf-8")
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json or charset not in ("utf-8", "utf8"):
        raise UnsupportedContentType(f"Send `Content-Type: application/json` in UTF-8, not {given[:100]!r}.")


def _check_encoding(given: str) -> None:
    # A small body could unfold into one that fills the memory.
    if given.strip().lower() not in ("", "identity"):
        raise UnsupportedContentType(f"Send the body as it is, without `Content-Encoding: {given[:50]}`.")


def parse_json(body: bytes, *, max_depth: int) -> Any:
    """The JSON in the body. Of a name given twice the last one counts.

    Raises:
        MalformedRequest: not UTF-8, not JSON, NaN or Infinity, or nested deeper than `max_depth`.
    """
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as exc:
        raise MalformedRequest(f"The body is not UTF-8: byte {exc.start} cannot be read.") from exc
    except json.JSONDecodeError as exc:
        raise MalformedRequest(f"The body is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}.") from exc
    except RecursionError as exc:
        raise _too_deep(max_depth) from exc
    except ValueError as exc:
        # A number of more than 4,300 digits.
        raise MalformedRequest(f"The body has a number that cannot be read: {exc}.") from exc
    # There are at least as many brackets as levels, so that most bodies need no walk.
    if text.count("{") + text.count("[") > max_depth and is_nested_deeper(value, max_depth):
        raise _too_deep(max_depth)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"The body is not JSON: {name} is not a JSON number.")


def _too_deep(max_depth: int) -> MalformedRequest:
    return MalformedRequest(f"The body is nested too deep: at most {max_depth} levels of objects and lists.")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have at most {limit:,} bytes.")
