"""What happens around every call: authentication, parsing, the error tree into statuses, one log line."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from ops_core.errors import MalformedRequest, OpsCoreError, Unavailable
from ops_core.rpc.call import Call, ServicerContext
from ops_core.rpc.drain import Drain, ServerStopping
from ops_core.rpc.errors import DETAILS_KEY, status_code_of, status_details, status_message
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.request_head import REQUEST_ID, KeyCheck, RequestIds, request_ids

#: A `grpc.RpcMethodHandler`; its stubs know the synchronous server's methods only.
Handler: TypeAlias = Any
#: What came with the call; of a name given twice the first.
Metadata: TypeAlias = Mapping[str, str]
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

#: Probes have no key, and must get an answer from a server that is full.
_OPEN_SERVICE = "/grpc.health.v1.Health/"
_OUR_SERVICES = "/ops_core.v1."


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Lets in up to `max_calls` calls at once, and sees each one out with a proper status.

    Methods of our services get a `Call` in place of grpc's context, and may raise any error of ops_core's tree.
    """

    def __init__(self, *, key_check: KeyCheck, drain: Drain, max_calls: int) -> None:
        self._key_check = key_check
        self._drain = drain
        self._max_calls = max_calls
        self._calls = 0
        self._log = get_logger(door="grpc")

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Handler:
        handler = await continuation(details)
        # Without a handler grpc answers UNIMPLEMENTED.
        if handler is None or details.method.startswith(_OPEN_SERVICE):
            return handler
        given = reversed([(name, value) for name, value in details.invocation_metadata if isinstance(value, str)])
        metadata: Metadata = dict(given)
        if not details.method.startswith(_OUR_SERVICES):
            return self._foreign_stream(handler, details.method, metadata)
        if handler.response_streaming:
            return self._stream(handler, details.method, metadata)
        return self._unary(handler, details.method, metadata)

    def _unary(self, handler: Handler, method: str, metadata: Metadata) -> Handler:
        async def serve(data: bytes, context: ServicerContext) -> Any:
            async with self._served(method, metadata, context) as call:
                return await handler.unary_unary(_parsed(handler, data), call)

        return grpc.unary_unary_rpc_method_handler(serve, None, handler.response_serializer)

    def _stream(self, handler: Handler, method: str, metadata: Metadata) -> Handler:
        async def serve(data: bytes, context: ServicerContext) -> None:
            async with self._served(method, metadata, context) as call:
                replies = handler.unary_stream(_parsed(handler, data), call)
                # Closed here and now, so that a client that goes away leaves nothing behind.
                async with self._drain.cut_short(), aclosing(replies):
                    async for reply in replies:
                        await context.write(reply)

        return grpc.unary_stream_rpc_method_handler(serve, None, handler.response_serializer)

    def _foreign_stream(self, handler: Handler, method: str, metadata: Metadata) -> Handler:
        """Reflection: let in like ours, otherwise as it comes."""

        async def serve(requests: AsyncIterator[Any], context: ServicerContext) -> None:
            async with self._served(method, metadata, context), self._drain.cut_short():
                async for reply in handler.stream_stream(requests, context):
                    await context.write(reply)

        return grpc.stream_stream_rpc_method_handler(serve, handler.request_deserializer, handler.response_serializer)

    @asynccontextmanager
    async def _served(self, method: str, metadata: Metadata, context: ServicerContext) -> AsyncIterator[Call]:
        """Let the call in, turn what it raises into a status, and log how it ended."""
        ids, started_at = request_ids(metadata.get), time.perf_counter()
        context.set_trailing_metadata(((REQUEST_ID, ids.request_id),))
        # grpc tells a client that has gone, or whose deadline has passed, what this stands for until it is changed.
        code, error_code = grpc.StatusCode.CANCELLED, None
        self._calls += 1
        with structlog.contextvars.bound_contextvars(request_id=ids.request_id, trace_id=ids.trace_id):
            try:
                yield self._admitted(metadata, ids, context)
                code = grpc.StatusCode.OK
            except Exception as caught:  # noqa: BLE001 - the door: the client gets a status, and the log the rest
                error = self._our_error(caught, method, ids)
                code, error_code = status_code_of(error), error.code
                await _abort(context, error, ids)
            finally:
                self._calls -= 1
                log = self._log.debug if code is grpc.StatusCode.OK else self._log.info
                log(
                    LogEvent.request_served,
                    method=method,
                    status=code.name,
                    error_code=error_code,
                    milliseconds=round((time.perf_counter() - started_at) * 1_000, 1),
                )

    def _admitted(self, metadata: Metadata, ids: RequestIds, context: ServicerContext) -> Call:
        if self._calls > self._max_calls:
            raise Unavailable(f"More than {self._max_calls} calls at once: try again in a moment.")
        caller = self._key_check.caller(metadata.get)
        return Call(caller=caller, traceparent=ids.traceparent, context=context)

    def _our_error(self, caught: Exception, method: str, ids: RequestIds) -> OpsCoreError:
        match caught:
            case ServerStopping():
                return Unavailable("The server is stopping: call again, with `after_seq` set to the last seq you have.")
            case OpsCoreError() if status_code_of(caught) is not grpc.StatusCode.INTERNAL:
                return caught
        self._log.error(LogEvent.request_failed, method=method, exc_info=caught)
        return OpsCoreError(f"Something went wrong on our side. The log says more under request id {ids.request_id}.")


def _parsed(handler: Handler, data: bytes) -> Any:
    """The request. Parsed here because grpc itself would answer a garbled one with INTERNAL.

    Raises:
        MalformedRequest: not this message, text that is not UTF-8, or nested more than 100 messages deep.
    """
    parse = handler.request_deserializer
    assert parse is not None
    try:
        return parse(data)
    except DecodeError as error:
        raise MalformedRequest(
            "The request cannot be parsed: it is not the message this method takes, has text that is not UTF-8, or is "
            f"nested too deep ({error}). Deep input fits into `input_json`."
        ) from error


async def _abort(context: ServicerContext, error: OpsCoreError, ids: RequestIds) -> None:
    details = status_details(error, request_id=ids.request_id)
    await context.abort(
        status_code_of(error),
        status_message(error),
        trailing_metadata=((REQUEST_ID, ids.request_id), (DETAILS_KEY, details)),
    )
