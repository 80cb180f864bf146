"""Queues over gRPC."""

from __future__ import annotations

import grpc
import pytest

from ops_core.tests.fake_queues import worker_serving
from ops_core.tests.unit.rpc.conftest import Door
from ops_core.tests.unit.rpc.refusals import refused
from ops_core.wire.pb.v1 import queues_pb2 as pb
from ops_core.wire.pb.v1 import tasks_pb2


async def submit(door: Door, *queues: str) -> None:
    for queue in queues:
        await door.tasks.SubmitTask(tasks_pb2.SubmitTaskRequest(agent="assistant", goal="x", queue=queue))


async def test_a_queue_tells_what_it_has_and_wants(door: Door) -> None:
    await submit(door, "slow", "slow")
    await door.store.run(next(iter(door.store.tasks)))
    door.queue_store.workers = [worker_serving("slow", slots=4, busy=1)]
    queue = await door.queues.GetQueue(pb.GetQueueRequest(name="slow"))
    assert (queue.name, queue.ready, queue.running, queue.wanted_slots) == ("slow", 1, 1, 2)
    assert (queue.workers, queue.slots, queue.free, queue.wanted_slots_capped) == (1, 4, 3, False)
    assert queue.HasField("oldest_ready_seconds")


async def test_a_queue_that_nobody_has_heard_of_is_an_empty_one(door: Door) -> None:
    assert await door.queues.GetQueue(pb.GetQueueRequest(name="new")) == pb.Queue(name="new")


async def test_lists_are_paged_by_name(door: Door) -> None:
    await submit(door, "b", "c", "a")
    first = await door.queues.ListQueues(pb.ListQueuesRequest(page_size=2))
    second = await door.queues.ListQueues(pb.ListQueuesRequest(page_size=500, page_token=first.next_page_token))
    assert [one.name for one in (*first.queues, *second.queues)] == ["a", "b", "c"]
    assert second.next_page_token == ""


@pytest.mark.parametrize("name", ["", "Slow", "a b"])
async def test_what_cannot_be_a_queue(door: Door, name: str) -> None:
    refusal = await refused(door.queues.GetQueue(pb.GetQueueRequest(name=name)))
    assert (refusal.status, set(refusal.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"name"})
