"""Reads what a refused call says."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped]  # it has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

T = TypeVar("T")


@dataclass(frozen=True)
class Refusal:
    """A status and its details."""

    status: grpc.StatusCode
    message: str
    #: Of the ErrorInfo.
    code: str
    reason: str
    domain: str
    request_id: str
    #: Of the BadRequest: what is wrong, by field.
    fields: dict[str, str]


async def refused(call: Awaitable[Any]) -> Refusal:
    """What the call was refused with; fails the test when it was not."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def read(stream: AsyncIterable[T]) -> list[T]:
    """All that a stream gives."""
    return [message async for message in stream]


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    trailing = dict(error.trailing_metadata() or ())
    status, info, bad = Status(), ErrorInfo(), BadRequest()
    status.ParseFromString(trailing["grpc-status-details-bin"])
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    return Refusal(
        status=error.code(),
        message=error.details() or "",
        code=info.metadata["code"],
        reason=info.reason,
        domain=info.domain,
        request_id=info.metadata["request_id"],
        fields={one.field: one.description for one in bad.field_violations},
    )
