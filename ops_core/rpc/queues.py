"""The gRPC door to queues."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from ops_core.rpc.call import Call
from ops_core.rpc.paging import page_size
from ops_core.services.queues import MAX_PAGE, QueueService
from ops_core.wire.pb.v1 import queues_pb2 as pb
from ops_core.wire.protobuf_queues import page_message, queue_message

_DEFAULT_QUEUES = 50


class QueueServicer:
    """Each method: translate in, call one service method, translate out."""

    def __init__(self, *, queues: QueueService) -> None:
        self._queues = queues

    async def GetQueue(self, request: pb.GetQueueRequest, call: Call) -> pb.Queue:
        return queue_message(await self._queues.get(call.caller, request.name))

    async def ListQueues(self, request: pb.ListQueuesRequest, call: Call) -> pb.ListQueuesResponse:
        limit = page_size(request.page_size, default=_DEFAULT_QUEUES, most=MAX_PAGE)
        return page_message(await self._queues.list(call.caller, limit=limit, cursor=request.page_token or None))
