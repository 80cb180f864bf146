"""The schedule service: what it refuses, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ops_core.domain.caller import Caller, Role
from ops_core.domain.task import RateLimit
from ops_core.errors import (
    AgentNotFound,
    CursorMalformed,
    InvalidInput,
    OpsCoreError,
    PermissionDenied,
    ScheduleNotFound,
)
from ops_core.services.scheduled_submission import submission_from_json, submission_to_json
from ops_core.services.schedules import ScheduleChange, ScheduleDraft, ScheduleService
from ops_core.services.submission import Submission
from ops_core.services.tasks import TaskService
from ops_core.tests.fake_schedules import FakeSchedules
from ops_core.tests.fakes import FakeStore


@pytest.fixture
def schedules(store: FakeStore, service: TaskService) -> ScheduleService:
    return ScheduleService(schedules=FakeSchedules(store), tasks=service)


LATER = datetime(2030, 1, 1, tzinfo=UTC)


def draft(**changes: Any) -> ScheduleDraft:
    values: dict[str, Any] = {"name": "s", "cron": "0 9 * * *", "submission": Submission(agent="assistant", goal="x")}
    return ScheduleDraft(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a b"}, "/name"),
        ({"name": "a" * 129}, "/name"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"timezone": "Nowhere"}, "/timezone"),
        ({"submission": Submission(agent="assistant")}, "/submission/goal"),
        ({"submission": Submission(agent="assistant", goal="x", priority=10)}, "/submission/priority"),
        ({"submission": Submission(agent="weather", input={"city": 1})}, "/submission/input/city"),
        ({"submission": Submission(agent="assistant", goal="x", idempotency_key="k")}, "/submission/idempotency_key"),
        ({"submission": Submission(agent="assistant", goal="x", run_at=LATER)}, "/submission/run_at"),
    ],
)
async def test_what_is_wrong_is_pointed_at(
    schedules: ScheduleService, caller: Caller, changes: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await schedules.create(caller, draft(**changes))
    assert pointer in [problem.pointer for problem in refused.value.problems]


async def test_an_agent_that_is_not_there_is_told_at_once(schedules: ScheduleService, caller: Caller) -> None:
    with pytest.raises(AgentNotFound):
        await schedules.create(caller, draft(submission=Submission(agent="gone", goal="x")))


async def test_a_change_to_a_submission_that_does_not_fit_changes_nothing(
    schedules: ScheduleService, caller: Caller
) -> None:
    made = await schedules.create(caller, draft())
    with pytest.raises(AgentNotFound):
        await schedules.update(caller, "s", ScheduleChange(submission=Submission(agent="gone", goal="x")))
    assert await schedules.get(caller, "s") == made


async def test_whoever_only_looks_changes_nothing(schedules: ScheduleService, caller: Caller) -> None:
    await schedules.create(caller, draft())
    viewer = Caller(subject="v", roles=frozenset({Role.viewer}))
    assert (await schedules.get(viewer, "s")).name == "s"
    for change in (
        schedules.create(viewer, draft(name="t")),
        schedules.update(viewer, "s", ScheduleChange(cron="1 1 * * *")),
        schedules.pause(viewer, "s"),
        schedules.resume(viewer, "s"),
        schedules.trigger(viewer, "s"),
        schedules.delete(viewer, "s"),
    ):
        with pytest.raises(PermissionDenied):
            await change


async def test_a_schedule_of_another_namespace_is_not_there(schedules: ScheduleService, caller: Caller) -> None:
    await schedules.create(caller, draft())
    with pytest.raises(ScheduleNotFound):
        await schedules.get(Caller(namespace="other"), "s")


async def test_a_cursor_of_something_else_is_refused(schedules: ScheduleService, caller: Caller) -> None:
    for name in ("a", "b"):
        await schedules.create(caller, draft(name=name))
    cursor = (await schedules.list(caller, limit=1)).next_cursor
    for bad, who in (("nonsense", caller), ("é" * 40, caller), (cursor, Caller(namespace="other"))):
        with pytest.raises(CursorMalformed):
            await schedules.list(who, limit=1, cursor=bad)


@pytest.mark.parametrize("count", [0, 101])
async def test_only_so_many_next_times_are_told(schedules: ScheduleService, caller: Caller, count: int) -> None:
    await schedules.create(caller, draft())
    with pytest.raises(OpsCoreError):
        await schedules.next_times(caller, "s", count=count)


def test_a_submission_comes_back_as_it_was_kept() -> None:
    submission = Submission(
        agent="a",
        input={"goal": "x"},
        priority=7,
        labels={"k": "v"},
        concurrency_key="c",
        concurrency_limit=2,
        rate=RateLimit(key="r", limit=3, per_seconds=1.5),
        stream=True,
    )
    kept = submission_to_json(submission)
    assert submission_from_json(kept | {"of_a_newer_version": 1}) == submission
    assert kept["rate"] == {"key": "r", "limit": 3, "per_seconds": 1.5}
