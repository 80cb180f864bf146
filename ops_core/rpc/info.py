"""The gRPC door to what the server says of itself."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from ops_core.rpc.call import Call
from ops_core.services.limits import TaskLimits
from ops_core.wire.pb.v1 import info_pb2 as pb
from ops_core.wire.protobuf_info import info_message


class InfoServicer:
    """Version, features and limits, as they were at start."""

    def __init__(self, *, version: str, limits: TaskLimits, max_body_bytes: int) -> None:
        self._reply = info_message(version, limits, max_body_bytes=max_body_bytes)

    async def GetInfo(self, request: pb.GetInfoRequest, call: Call) -> pb.GetInfoResponse:
        return self._reply
