"""Schedules in memory, for tests of services and doors. They keep the rules of the real store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from uuid import UUID

from ops_core.domain.schedule import NewSchedule, Schedule
from ops_core.errors import ScheduleChanged, ScheduleExists, ScheduleNotFound
from ops_core.tests.fakes import FakeStore


class FakeSchedules:
    """A ScheduleStore beside the tasks of a FakeStore, whose clock it shares."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.schedules: dict[tuple[str, str], Schedule] = {}

    async def add_schedule(self, new: NewSchedule) -> Schedule:
        if (new.namespace, new.name) in self.schedules:
            raise ScheduleExists(f"There is a schedule {new.name!r}.")
        now = self.store.now
        schedule = Schedule(**asdict(new), created_at=now, updated_at=now)
        self.schedules[new.namespace, new.name] = schedule
        return schedule

    async def get_schedule(self, namespace: str, name: str) -> Schedule | None:
        await self.store.list_agents(namespace)
        return self.schedules.get((namespace, name))

    async def list_schedules(self, namespace: str, *, after_name: str | None, limit: int) -> Sequence[Schedule]:
        names = sorted(name for space, name in self.schedules if space == namespace and name > (after_name or ""))
        return [self.schedules[namespace, name] for name in names[:limit]]

    async def replace_schedule_if_unchanged(self, before: Schedule, after: Schedule) -> Schedule:
        current = self._found(before.namespace, before.name)
        if (current.version, current.next_at) != (before.version, before.next_at):
            raise ScheduleChanged(f"The schedule {before.name!r} was changed meanwhile.")
        written = replace(after, version=before.version + 1, updated_at=self.store.now)
        self.schedules[before.namespace, before.name] = written
        return written

    async def advance_schedule_if_due(
        self, schedule: Schedule, *, next_at: datetime, last_task_id: UUID | None, last_error: str | None
    ) -> bool:
        current = self.schedules.get((schedule.namespace, schedule.name))
        if current is None or (current.version, current.next_at) != (schedule.version, schedule.next_at):
            return False
        self.schedules[schedule.namespace, schedule.name] = replace(
            current,
            next_at=next_at,
            last_at=self.store.now,
            last_task_id=last_task_id or current.last_task_id,
            last_error=last_error,
        )
        return True

    async def delete_schedule(self, namespace: str, name: str) -> None:
        self._found(namespace, name)
        del self.schedules[namespace, name]

    async def list_due_schedules(self, *, limit: int) -> tuple[Sequence[Schedule], datetime]:
        now = self.store.now
        due = [one for one in self.schedules.values() if not one.paused and one.next_at <= now]
        return sorted(due, key=lambda one: one.next_at)[:limit], now

    async def seconds_until_schedule(self) -> float | None:
        times = [one.next_at for one in self.schedules.values() if not one.paused]
        return (min(times) - self.store.now).total_seconds() if times else None

    async def schedule_clock(self) -> datetime:
        return self.store.now

    def _found(self, namespace: str, name: str) -> Schedule:
        schedule = self.schedules.get((namespace, name))
        if schedule is None:
            raise ScheduleNotFound(f"There is no schedule {name!r}.")
        return schedule
