"""Queues as protobuf messages."""

from __future__ import annotations

from ops_core.ports import QueueLoad
from ops_core.services.queues import QueuePage
from ops_core.wire.pb.v1 import queues_pb2 as pb


def queue_message(load: QueueLoad) -> pb.Queue:
    """The queue as a message."""
    return pb.Queue(
        name=load.name,
        ready=load.ready,
        running=load.running,
        workers=load.workers,
        slots=load.slots,
        free=load.free,
        oldest_ready_seconds=load.oldest_ready_seconds,
        wanted_slots=load.wanted_slots,
        wanted_slots_capped=load.wanted_slots_capped,
    )


def page_message(page: QueuePage) -> pb.ListQueuesResponse:
    """A page of queues, as a message."""
    return pb.ListQueuesResponse(queues=map(queue_message, page.queues), next_page_token=page.next_cursor or "")
