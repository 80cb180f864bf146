"""What each operation on tasks does over gRPC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.struct_pb2 import Struct

from ops_core.domain.outcome import Completed, Failed
from ops_core.domain.task import TaskError, TaskUsage
from ops_core.services.input_schema import DEFAULT_INPUT_SCHEMA
from ops_core.services.limits import TaskLimits
from ops_core.tests.unit.rpc.conftest import Door, OpenDoor
from ops_core.tests.unit.rpc.refusals import refused
from ops_core.wire.pb.v1 import agents_pb2, info_pb2
from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_json import json_from_struct

DONE = Completed(result={"answer": 391, "of": [1, 2.5, None]}, usage=TaskUsage(steps=2, input_tokens=7))


def struct(value: dict[str, Any]) -> Struct:
    """The value as a client of protobuf writes it."""
    message = Struct()
    message.update(value)
    return message


async def submit(door: Door, **fields: object) -> pb.Task:
    """A submitted task of the assistant."""
    request = pb.SubmitTaskRequest(**{"agent": "assistant", "goal": "What is 17 * 23?", **fields})  # type: ignore[arg-type]  # fields by name
    return (await door.tasks.SubmitTask(request)).task


async def test_a_submitted_task_has_what_was_asked_for(door: Door) -> None:
    run_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

    task = await submit(
        door,
        priority=7,
        run_at=run_at,
        timeout_seconds=90,
        max_attempts=5,
        queue="slow",
        labels={"team": "support"},
        idempotency_key="k1",
    )

    stored = door.store.tasks[UUID(task.id)]
    assert (stored.priority, stored.run_at, stored.timeout_seconds) == (7, run_at, 90)
    assert (stored.max_attempts, stored.queue, stored.labels) == (5, "slow", {"team": "support"})
    assert stored.idempotency_key == "k1"
    assert stored.input == {"goal": "What is 17 * 23?"}
    assert task.status == pb.TASK_STATUS_SCHEDULED
    assert task.run_at.ToDatetime(tzinfo=UTC) == run_at
    assert task.labels == {"team": "support"}


async def test_what_is_left_out_is_the_services_to_decide(door: Door) -> None:
    task = await submit(door)

    assert (task.priority, task.max_attempts, task.queue) == (5, 3, "default")
    assert not task.HasField("timeout_seconds")
    assert not task.HasField("run_at")
    assert not task.HasField("result")
    assert not task.HasField("error")


async def test_whole_numbers_of_a_struct_arrive_as_integers(door: Door) -> None:
    given = {"goal": "x", "whole": 3, "part": 2.5, "list": [1, {"deep": -0.0}], "none": None, "yes": True, "no": {}}

    task = (await door.tasks.SubmitTask(pb.SubmitTaskRequest(agent="assistant", input=struct(given)))).task

    stored = door.store.tasks[UUID(task.id)].input
    assert stored == given
    assert [type(stored["whole"]), type(stored["list"][0]), type(stored["part"])] == [int, int, float]


async def test_an_integer_schema_takes_the_whole_numbers_of_a_struct(door: Door) -> None:
    request = pb.SubmitTaskRequest(agent="translator", input=struct({"text": "hello", "copies": 2}))

    assert (await door.tasks.SubmitTask(request)).task.agent == "translator"


async def test_json_text_carries_numbers_that_a_struct_cannot(door: Door) -> None:
    request = pb.SubmitTaskRequest(agent="assistant", input_json='{"goal": "x", "id": 9007199254740993}')

    task = (await door.tasks.SubmitTask(request)).task

    assert door.store.tasks[UUID(task.id)].input["id"] == 9007199254740993
    assert task.WhichOneof("input_form") == "input_json"
    assert "9007199254740993" in task.input_json


async def test_the_same_key_and_request_give_the_first_task(door: Door) -> None:
    request = pb.SubmitTaskRequest(agent="assistant", goal="once", idempotency_key="k")

    first, second = await door.tasks.SubmitTask(request), await door.tasks.SubmitTask(request)

    assert (first.replayed, second.replayed) == (False, True)
    assert first.task.id == second.task.id


async def test_the_clients_trace_context_goes_with_the_task(door: Door) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    request = pb.SubmitTaskRequest(agent="assistant", goal="x")

    reply = await door.tasks.SubmitTask(request, metadata=(("traceparent", traceparent),))

    assert reply.task.traceparent == traceparent


async def test_without_a_usable_trace_context_a_trace_begins(door: Door) -> None:
    request = pb.SubmitTaskRequest(agent="assistant", goal="x")

    reply = await door.tasks.SubmitTask(request, metadata=(("traceparent", "rubbish"),))

    assert reply.task.traceparent.startswith("00-")


async def test_a_batch_answers_in_the_order_of_the_request(door: Door) -> None:
    requests = [pb.SubmitTaskRequest(agent="assistant", goal=f"goal {n}") for n in range(5)]

    reply = await door.tasks.SubmitTasks(pb.SubmitTasksRequest(tasks=requests))

    goals = [json_from_struct(one.task.input, pointer="")["goal"] for one in reply.results]
    assert goals == [f"goal {n}" for n in range(5)]


async def test_a_completed_task_has_its_result_and_usage(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    found = await door.tasks.GetTask(pb.GetTaskRequest(id=task.id))

    assert found.status == pb.TASK_STATUS_COMPLETED
    assert json_from_struct(found.result.struct_value, pointer="") == {"answer": 391, "of": [1, 2.5, None]}
    assert (found.usage.steps, found.usage.input_tokens) == (2, 7)
    assert found.HasField("finished_at")


async def test_a_result_of_null_is_told_from_no_result(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), Completed(result=None, usage=TaskUsage()))

    found = await door.tasks.GetTask(pb.GetTaskRequest(id=task.id))

    assert found.result.WhichOneof("kind") == "null_value"


async def test_a_failed_task_says_why(door: Door) -> None:
    task = await submit(door)
    await door.store.run(
        UUID(task.id), Failed(error=TaskError("limit_steps", "20 steps were not enough"), usage=TaskUsage())
    )

    found = await door.tasks.GetTask(pb.GetTaskRequest(id=task.id))

    assert found.status == pb.TASK_STATUS_FAILED
    assert (found.error.code, found.error.retryable) == ("limit_steps", False)


async def test_pages_follow_each_other_newest_first_until_the_token_is_empty(door: Door) -> None:
    ids = [(await submit(door, goal=f"goal {n}")).id for n in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = await door.tasks.ListTasks(pb.ListTasksRequest(page_size=2, page_token=token))
        seen += [task.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            break

    assert seen == ids[::-1]


async def test_a_list_is_narrowed_by_all_that_is_given(door: Door) -> None:
    wanted = await submit(door, labels={"team": "a"})
    await submit(door, labels={"team": "b"})
    done = await submit(door, labels={"team": "a"})
    await door.store.run(UUID(done.id), DONE)

    async def listed(**fields: object) -> list[str]:
        page = await door.tasks.ListTasks(pb.ListTasksRequest(**fields))  # type: ignore[arg-type]  # fields by name
        return [task.id for task in page.tasks]

    assert await listed(labels={"team": "a"}, statuses=[pb.TASK_STATUS_QUEUED]) == [wanted.id]
    assert await listed(id_prefix=wanted.id[:36]) == [wanted.id]
    assert await listed(agent="translator") == []
    assert await listed(created_after=done.created_at) == []
    assert await listed(created_before=wanted.created_at) == []


async def test_a_page_size_over_the_limit_is_cut_down(open_door: OpenDoor) -> None:
    door = await open_door(limits=TaskLimits(max_page=3))
    for _ in range(5):
        await submit(door)

    page = await door.tasks.ListTasks(pb.ListTasksRequest(page_size=1_000_000))

    assert len(page.tasks) == 3
    assert page.next_page_token


async def test_a_page_of_large_tasks_stays_below_what_clients_take(door: Door) -> None:
    ids = [(await submit(door, goal="g" * 90_000)).id for _ in range(60)]
    seen: list[str] = []
    token = ""
    while True:
        # A client's default limit is 4 MiB; all of them together are more.
        page = await door.tasks.ListTasks(pb.ListTasksRequest(page_size=200, page_token=token))
        seen += [task.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            break

    assert seen == ids[::-1]


async def test_cancel_ends_a_queued_task_at_once(door: Door) -> None:
    task = await submit(door)

    assert (await door.tasks.CancelTask(pb.CancelTaskRequest(id=task.id))).status == pb.TASK_STATUS_CANCELED


async def test_cancel_of_a_finished_task_is_a_failed_precondition(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    refusal = await refused(door.tasks.CancelTask(pb.CancelTaskRequest(id=task.id)))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.FAILED_PRECONDITION, "task_finished")


async def test_retry_reopens_a_finished_task_from_where_it_was_told(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    again = await door.tasks.RetryTask(pb.RetryTaskRequest(id=task.id, retry_from=pb.RETRY_FROM_SCRATCH))

    assert (again.status, again.round) == (pb.TASK_STATUS_QUEUED, 2)
    assert door.store.log[UUID(task.id)][-1].payload["from"] == "scratch"


async def test_retry_starts_from_the_journal_unless_told_otherwise(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    await door.tasks.RetryTask(pb.RetryTaskRequest(id=task.id))

    assert door.store.log[UUID(task.id)][-1].payload["from"] == "journal"


async def test_retry_of_a_live_task_is_a_failed_precondition(door: Door) -> None:
    task = await submit(door)

    refusal = await refused(door.tasks.RetryTask(pb.RetryTaskRequest(id=task.id)))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.FAILED_PRECONDITION, "task_not_finished")


async def test_events_come_in_pages_and_say_whether_there_are_more(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    first = await door.tasks.ListTaskEvents(pb.ListTaskEventsRequest(id=task.id, page_size=2))
    last = await door.tasks.ListTaskEvents(pb.ListTaskEventsRequest(id=task.id, page_size=2, after_seq=2))

    assert [event.type for event in first.events] == ["task.submitted", "task.started"]
    assert [event.seq for event in last.events] == [3]
    assert (first.has_more, last.has_more) == (True, False)
    assert json_from_struct(last.events[0].payload, pointer="") == {"result": DONE.result}
    assert last.events[0].format == 1


async def test_agents_are_listed_by_name_and_shown(door: Door) -> None:
    listed = await door.agents.ListAgents(agents_pb2.ListAgentsRequest())
    shown = await door.agents.GetAgent(agents_pb2.GetAgentRequest(name="translator"))

    assert [agent.name for agent in listed.agents] == ["assistant", "translator"]
    assert json_from_struct(shown.input_schema, pointer="")["required"] == ["text"]
    # One that declares nothing takes what every agent takes: a goal.
    assert json_from_struct(listed.agents[0].input_schema, pointer="") == DEFAULT_INPUT_SCHEMA
    assert (shown.timeout_seconds, shown.HasField("output_schema")) == (60, False)


async def test_an_unknown_agent_is_not_found(door: Door) -> None:
    refusal = await refused(door.agents.GetAgent(agents_pb2.GetAgentRequest(name="asistant")))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.NOT_FOUND, "agent_not_found")
    assert "assistant" in refusal.message


async def test_info_says_version_and_limits(door: Door) -> None:
    info = await door.info.GetInfo(info_pb2.GetInfoRequest())

    assert (info.version, info.api, info.limits.max_batch) == ("9.9.9", "v1", 500)
    assert "wait" in info.features
