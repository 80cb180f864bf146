"""Schedules over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from ops_core.tests.unit.rpc.conftest import Door
from ops_core.tests.unit.rpc.refusals import refused
from ops_core.wire.pb.v1 import schedules_pb2 as pb
from ops_core.wire.pb.v1 import tasks_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOO_LATE = grpc.StatusCode.FAILED_PRECONDITION
SUBMISSION = tasks_pb2.SubmitTaskRequest(
    agent="assistant",
    goal="report",
    priority=7,
    labels={"team": "x"},
    rate=tasks_pb2.RateLimit(key="k", limit=2, per_seconds=1.5),
)


def daily(**changes: Any) -> pb.CreateScheduleRequest:
    given = {"name": "daily", "cron": "30 8 * * mon-fri", "timezone": "Europe/Berlin", "submission": SUBMISSION}
    return pb.CreateScheduleRequest(**{**given, **changes})


async def test_a_schedule_comes_back_as_it_was_given(door: Door) -> None:
    created = await door.schedules.CreateSchedule(daily())
    assert (created.name, created.cron, created.timezone) == ("daily", "30 8 * * mon-fri", "Europe/Berlin")
    assert (created.catch_up, created.paused, created.version) == (pb.CATCH_UP_ONE, False, 1)
    kept = created.submission
    assert (kept.agent, kept.goal, kept.priority, dict(kept.labels)) == ("assistant", "report", 7, {"team": "x"})
    assert kept.rate == SUBMISSION.rate
    assert created.next_at.ToJsonString() == "2026-11-23T07:30:00Z"
    assert await door.schedules.GetSchedule(pb.GetScheduleRequest(name="daily")) == created


async def test_its_whole_life(door: Door) -> None:
    schedules = door.schedules
    await schedules.CreateSchedule(daily())
    changed = await schedules.UpdateSchedule(
        pb.UpdateScheduleRequest(name="daily", cron="0 9 * * *", catch_up=pb.CATCH_UP_SKIP, version=1)
    )
    assert (changed.cron, changed.timezone, changed.catch_up) == ("0 9 * * *", "Europe/Berlin", pb.CATCH_UP_SKIP)
    stale = await refused(schedules.UpdateSchedule(pb.UpdateScheduleRequest(name="daily", cron="* * * * *", version=1)))
    assert (stale.status, stale.code) == (TOO_LATE, "schedule_changed")
    assert (await schedules.PauseSchedule(pb.PauseScheduleRequest(name="daily"))).paused
    assert not (await schedules.ResumeSchedule(pb.ResumeScheduleRequest(name="daily"))).paused
    trigger = pb.TriggerScheduleRequest(name="daily", idempotency_key="k")
    first, again = await schedules.TriggerSchedule(trigger), await schedules.TriggerSchedule(trigger)
    assert (again.replayed, again.task.id, first.task.priority) == (True, first.task.id, 7)
    times = await schedules.ListNextTimes(pb.ListNextTimesRequest(name="daily", count=2))
    assert [one.ToJsonString() for one in times.times] == ["2026-11-22T08:00:00Z", "2026-11-23T08:00:00Z"]
    await schedules.DeleteSchedule(pb.DeleteScheduleRequest(name="daily"))
    gone = await refused(schedules.GetSchedule(pb.GetScheduleRequest(name="daily")))
    assert (gone.status, gone.code) == (grpc.StatusCode.NOT_FOUND, "schedule_not_found")


async def test_lists_are_paged_by_name(door: Door) -> None:
    for name in ("b", "c", "a"):
        await door.schedules.CreateSchedule(daily(name=name))
    first = await door.schedules.ListSchedules(pb.ListSchedulesRequest(page_size=2))
    token = first.next_page_token
    second = await door.schedules.ListSchedules(pb.ListSchedulesRequest(page_size=2, page_token=token))
    assert [one.name for one in (*first.schedules, *second.schedules)] == ["a", "b", "c"]


async def test_a_name_is_taken_once(door: Door) -> None:
    await door.schedules.CreateSchedule(daily())
    refusal = await refused(door.schedules.CreateSchedule(daily()))
    assert (refusal.status, refusal.code) == (TOO_LATE, "schedule_exists")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"name": "a b"}, "name"),
        ({"catch_up": 9}, "catch_up"),
        ({"submission": tasks_pb2.SubmitTaskRequest(agent="assistant")}, "submission.goal"),
        (
            {"submission": tasks_pb2.SubmitTaskRequest(agent="assistant", goal="x", idempotency_key="k")},
            "submission.idempotency_key",
        ),
        ({"submission": tasks_pb2.SubmitTaskRequest(agent="translator", input_json="{}")}, "submission.input"),
        ({"submission": tasks_pb2.SubmitTaskRequest(agent="translator", input_json="{")}, "submission.input_json"),
    ],
)
async def test_what_cannot_be_a_schedule(door: Door, changes: dict[str, Any], field: str) -> None:
    refusal = await refused(door.schedules.CreateSchedule(daily(**changes)))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {field})


@pytest.mark.parametrize("count", [-1, 101])
async def test_so_many_times_are_told(door: Door, count: int) -> None:
    await door.schedules.CreateSchedule(daily())
    refusal = await refused(door.schedules.ListNextTimes(pb.ListNextTimesRequest(name="daily", count=count)))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {"count"})
