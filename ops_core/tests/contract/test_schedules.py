"""Schedules on both databases: each time makes one task, whatever runs at once and whatever dies in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ops_core.domain.agent import AgentDefinition, ModelChoice
from ops_core.domain.caller import Caller
from ops_core.domain.schedule import CatchUp, Schedule
from ops_core.errors import ScheduleChanged, ScheduleExists, ScheduleNotFound, StoreUnavailable
from ops_core.ports import Ring, TaskQuery
from ops_core.services.firing import MAX_CAUGHT_UP, ScheduleFiring
from ops_core.services.limits import TaskLimits
from ops_core.services.schedules import ScheduleChange, ScheduleDraft, ScheduleService
from ops_core.services.submission import Submission
from ops_core.services.tasks import TaskService
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.conftest import NudgesSeen

ADA = Caller(subject="ada")
MINUTE = timedelta(minutes=1)


class NoRelay:
    def announce(self, rings: list[Ring]) -> None:
        pass


class DyingStore:
    """A store that goes away when the next time of a schedule is to be written: the tasks are submitted by then."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def advance_schedule_if_due(self, schedule: Schedule, **_: Any) -> bool:
        raise StoreUnavailable("killed")


def task_service(store: Store) -> TaskService:
    return TaskService(
        tasks=store,
        agents=store,
        relay=NoRelay(),  # type: ignore[arg-type]  # takes what it is given
        nudges=NudgesSeen(),
        limits=TaskLimits(),
        model_check=lambda _: None,
    )


def firing(store: Any, tasks: TaskService | None = None) -> ScheduleFiring:
    return ScheduleFiring(schedules=store, tasks=tasks or task_service(store))


@pytest.fixture
async def service(store: Store) -> ScheduleService:
    await store.put_agents("default", [AgentDefinition(name="assistant", model=ModelChoice(provider="demo"))])
    return ScheduleService(schedules=store, tasks=task_service(store))


def draft(**changes: Any) -> ScheduleDraft:
    values: dict[str, Any] = {
        "name": "minutely",
        "cron": "* * * * *",
        "submission": Submission(agent="assistant", goal="look", labels={"team": "a"}),
    }
    return ScheduleDraft(**{**values, **changes})


async def missed(store: Store, schedule: Schedule, times: int) -> Schedule:
    """As if so many of its times (every minute) had passed since anybody looked."""
    newest = (await store.schedule_clock()).replace(second=0, microsecond=0)
    return await store.replace_schedule_if_unchanged(schedule, replace(schedule, next_at=newest - (times - 1) * MINUTE))


async def tasks_of(store: Store, schedule: Schedule) -> list[str]:
    """The times, by idempotency key, of the tasks it has made."""
    found = await store.list_tasks(TaskQuery(namespace="default", limit=1000))
    return sorted(task.idempotency_key or "" for task in found if task.schedule_id == schedule.id)


async def read(store: Store, name: str = "minutely") -> Schedule:
    schedule = await store.get_schedule("default", name)
    assert schedule is not None
    return schedule


async def test_a_schedule_is_kept_as_it_was_given(store: Store, service: ScheduleService) -> None:
    made = await service.create(ADA, draft(cron="30  2 * * 1-5", timezone="Europe/Berlin", catch_up=CatchUp.all))
    assert made == await read(store)
    assert (made.cron, made.timezone, made.version, made.created_by) == ("30 2 * * 1-5", "Europe/Berlin", 1, "ada")
    assert made.submission == {"agent": "assistant", "goal": "look", "labels": {"team": "a"}}
    assert made.next_at > await store.schedule_clock()


async def test_a_second_schedule_of_a_name_is_refused(service: ScheduleService) -> None:
    await service.create(ADA, draft())
    with pytest.raises(ScheduleExists):
        await service.create(ADA, draft())
    await service.create(Caller(namespace="default"), draft(name="other"))


async def test_nothing_fires_before_its_time(store: Store, service: ScheduleService) -> None:
    schedule = await service.create(ADA, draft(cron="0 0 1 1 *"))
    assert await firing(store).tick() == 0
    assert await tasks_of(store, schedule) == []


async def test_a_due_time_makes_one_task_as_its_creator_and_the_next_time_is_written(
    store: Store, service: ScheduleService
) -> None:
    schedule = await missed(store, await service.create(ADA, draft()), 1)
    assert await firing(store).tick() == 1
    at = schedule.next_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert await tasks_of(store, schedule) == [f"schedule:{schedule.id}:{at}"]
    after = await read(store)
    assert (after.last_error, after.version) == (None, schedule.version)
    assert after.next_at > schedule.next_at
    task = await store.get_task("default", after.last_task_id or UUID(int=0))
    assert task is not None
    assert (task.created_by, task.schedule_id, task.labels) == ("ada", schedule.id, {"team": "a"})


async def seconds_until(store: Store, schedule: Schedule) -> Any:
    return pytest.approx((schedule.next_at - await store.schedule_clock()).total_seconds(), abs=20)


async def test_the_soonest_time_of_all_schedules_is_known(store: Store, service: ScheduleService) -> None:
    assert await firing(store).seconds_until_due() is None
    minutely = await service.create(ADA, draft())
    yearly = await service.create(ADA, draft(name="yearly", cron="0 0 1 1 *"))
    assert await firing(store).seconds_until_due() == await seconds_until(store, minutely)
    overdue = await missed(store, minutely, 3)
    assert await firing(store).seconds_until_due() == await seconds_until(store, overdue)
    await service.pause(ADA, "minutely")
    assert await firing(store).seconds_until_due() == await seconds_until(store, yearly)


async def test_any_number_of_housekeepers_at_once_fire_each_time_once(
    store: Store, store_url: str, service: ScheduleService
) -> None:
    schedules = [
        await missed(store, await service.create(ADA, draft(name=f"s{n}", catch_up=CatchUp.all)), 5) for n in range(6)
    ]
    other = await open_store(store_url)
    await asyncio.gather(*(firing(s).tick() for s in (store, other) for _ in range(4)))
    await other.aclose()
    for schedule in schedules:
        made = await tasks_of(store, schedule)
        assert len(made) in {5, 6}, "a minute may have begun meanwhile"
        assert max(Counter(made).values()) == 1


async def test_one_that_dies_between_the_task_and_the_next_time_has_done_no_harm(
    store: Store, service: ScheduleService
) -> None:
    schedule = await missed(store, await service.create(ADA, draft(catch_up=CatchUp.all)), 3)
    with pytest.raises(StoreUnavailable):
        await firing(DyingStore(store), task_service(store)).tick()
    made = await tasks_of(store, schedule)
    assert len(made) >= 3
    assert (await read(store)).next_at == schedule.next_at
    await firing(store).tick()
    again = await tasks_of(store, schedule)
    assert again[: len(made)] == made
    assert len(again) - len(made) <= 1, "a minute may have begun meanwhile"


async def test_without_its_key_a_time_would_be_fired_twice(store: Store, service: ScheduleService) -> None:
    """The control of the test above."""

    class Keyless:
        def __init__(self, tasks: TaskService) -> None:
            self._tasks = tasks

        async def submit(self, caller: Caller, submission: Submission) -> Any:
            return await self._tasks.submit(caller, replace(submission, idempotency_key=None))

    schedule = await missed(store, await service.create(ADA, draft()), 1)
    keyless: Any = Keyless(task_service(store))
    with pytest.raises(StoreUnavailable):
        await firing(DyingStore(store), keyless).tick()
    await firing(store, keyless).tick()
    assert len(await tasks_of(store, schedule)) == 2


async def test_one_that_was_changed_after_its_task_was_made_makes_no_second_one(
    store: Store, service: ScheduleService
) -> None:
    schedule = await missed(store, await service.create(ADA, draft()), 1)
    with pytest.raises(StoreUnavailable):
        await firing(DyingStore(store), task_service(store)).tick()
    await service.update(ADA, "minutely", ScheduleChange(submission=Submission(agent="assistant", goal="other")))
    await firing(store).tick()
    made = await tasks_of(store, schedule)
    assert made[0] == f"schedule:{schedule.id}:{schedule.next_at:%Y-%m-%dT%H:%M:%SZ}"
    assert len(made) <= 2, "a minute may have begun meanwhile"


@pytest.mark.parametrize(("catch_up", "expected"), [(CatchUp.one, 1), (CatchUp.all, 7)])
async def test_missed_times_are_caught_up_as_the_policy_says(
    store: Store, service: ScheduleService, catch_up: CatchUp, expected: int
) -> None:
    schedule = await missed(store, await service.create(ADA, draft(catch_up=catch_up)), 7)
    await firing(store).tick()
    assert len(await tasks_of(store, schedule)) - expected in {0, 1}, "a minute may have begun meanwhile"
    assert (await read(store)).next_at > await store.schedule_clock() - MINUTE


async def test_times_that_were_missed_by_more_than_a_minute_are_skipped_if_told_to(
    store: Store, service: ScheduleService
) -> None:
    made = await service.create(ADA, draft(cron="0 * * * *", catch_up=CatchUp.skip))
    hour_ago = await store.schedule_clock() - timedelta(hours=3)
    now = await store.schedule_clock()
    # Away from the full hour, or its own time would be due.
    cron = f"{(now.minute + 30) % 60} * * * *"
    line = await store.replace_schedule_if_unchanged(made, replace(made, cron=cron, next_at=hour_ago))
    assert await firing(store).tick() == 1
    assert await tasks_of(store, line) == []
    after = await read(store)
    assert after.next_at > now
    assert after.last_error is None


async def test_of_very_many_missed_times_the_newest_are_made_up_for_and_the_rest_is_told(
    store: Store, service: ScheduleService
) -> None:
    schedule = await missed(store, await service.create(ADA, draft(catch_up=CatchUp.all)), 500)
    await firing(store).tick()
    made = await tasks_of(store, schedule)
    assert len(made) == MAX_CAUGHT_UP
    after = await read(store)
    assert after.last_error is not None
    assert "more than 100 times were missed" in after.last_error
    newest = datetime.fromisoformat(made[-1].split(":", 2)[2])
    assert newest >= schedule.next_at + 499 * MINUTE


async def test_an_agent_that_is_gone_is_told_and_the_schedule_goes_on(store: Store, service: ScheduleService) -> None:
    schedule = await service.create(ADA, draft())
    gone = replace(schedule, submission={"agent": "gone", "goal": "x"})
    schedule = await missed(store, await store.replace_schedule_if_unchanged(schedule, gone), 1)
    await firing(store).tick()
    after = await read(store)
    assert after.last_error is not None
    assert "gone" in after.last_error
    assert after.last_task_id is None
    assert after.next_at > schedule.next_at
    await service.update(ADA, "minutely", ScheduleChange(submission=Submission(agent="assistant", goal="x")))
    await missed(store, await read(store), 1)
    await firing(store).tick()
    after = await read(store)
    assert after.last_error is None
    assert after.last_task_id is not None


async def test_one_bad_schedule_keeps_no_other_from_firing(store: Store, service: ScheduleService) -> None:
    bad = await service.create(ADA, draft(name="bad"))
    await missed(store, await store.replace_schedule_if_unchanged(bad, replace(bad, submission={"nonsense": 1})), 9)
    good = await missed(store, await service.create(ADA, draft(name="good")), 1)
    assert await firing(store).tick() == 2
    assert len(await tasks_of(store, good)) == 1
    assert (await read(store, "bad")).last_error is not None


async def test_a_paused_schedule_fires_nothing_and_asks_its_policy_when_it_goes_on(
    store: Store, service: ScheduleService
) -> None:
    schedule = await missed(store, await service.create(ADA, draft(catch_up=CatchUp.all)), 4)
    await service.pause(ADA, "minutely")
    assert await firing(store).tick() == 0
    assert (await service.pause(ADA, "minutely")).paused
    await service.resume(ADA, "minutely")
    await firing(store).tick()
    assert len(await tasks_of(store, schedule)) - 4 in {0, 1}


async def test_a_paused_schedule_that_skips_goes_on_with_its_next_time(store: Store, service: ScheduleService) -> None:
    await missed(store, await service.create(ADA, draft(catch_up=CatchUp.skip)), 4)
    await service.pause(ADA, "minutely")
    resumed = await service.resume(ADA, "minutely")
    assert resumed.next_at > await store.schedule_clock() - MINUTE
    assert resumed.next_at > resumed.updated_at


async def test_a_change_from_an_old_reading_is_refused(store: Store, service: ScheduleService) -> None:
    made = await service.create(ADA, draft())
    changed = await service.update(ADA, "minutely", ScheduleChange(cron="0 3 * * *"), version=made.version)
    assert (changed.version, changed.next_at.hour) == (2, 3)
    with pytest.raises(ScheduleChanged):
        await service.update(ADA, "minutely", ScheduleChange(cron="0 4 * * *"), version=made.version)
    with pytest.raises(ScheduleChanged):
        await store.replace_schedule_if_unchanged(made, replace(made, paused=True))


async def test_firing_spoils_no_change_that_somebody_is_about_to_make(store: Store, service: ScheduleService) -> None:
    made = await missed(store, await service.create(ADA, draft()), 1)
    await firing(store).tick()
    changed = await service.update(ADA, "minutely", ScheduleChange(catch_up=CatchUp.skip), version=made.version)
    assert changed.next_at > made.next_at
    assert changed.last_task_id is not None


async def test_a_change_while_it_fires_is_not_overwritten(store: Store, service: ScheduleService) -> None:
    due = await missed(store, await service.create(ADA, draft()), 1)
    await service.pause(ADA, "minutely")
    assert not await store.advance_schedule_if_due(
        due, next_at=due.next_at + MINUTE, last_task_id=None, last_error=None
    )
    assert (await read(store)).paused


async def test_a_triggered_schedule_makes_a_task_of_who_triggers_and_keeps_its_times(
    store: Store, service: ScheduleService
) -> None:
    made = await service.create(ADA, draft(paused=True))
    submitted = await service.trigger(Caller(subject="grace"), "minutely", idempotency_key="now")
    assert (submitted.task.schedule_id, submitted.task.created_by) == (made.id, "grace")
    assert (await service.trigger(Caller(subject="grace"), "minutely", idempotency_key="now")).replayed
    assert await read(store) == made


async def test_schedules_are_listed_by_name_in_pages(service: ScheduleService) -> None:
    for name in ("c", "a", "b"):
        await service.create(ADA, draft(name=name))
    first = await service.list(ADA, limit=2)
    assert [one.name for one in first.schedules] == ["a", "b"]
    rest = await service.list(ADA, limit=2, cursor=first.next_cursor)
    assert ([one.name for one in rest.schedules], rest.next_cursor) == (["c"], None)
    assert (await service.list(Caller(namespace="other"), limit=2)).schedules == []


async def test_a_deleted_schedule_is_gone_and_its_tasks_stay(store: Store, service: ScheduleService) -> None:
    schedule = await missed(store, await service.create(ADA, draft()), 1)
    await firing(store).tick()
    await service.delete(ADA, "minutely")
    with pytest.raises(ScheduleNotFound):
        await service.delete(ADA, "minutely")
    assert len(await tasks_of(store, schedule)) == 1
    assert await firing(store).tick() == 0
