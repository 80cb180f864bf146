"""The schedule store in memory. It keeps the rules of the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from uuid import UUID

from ops_core.domain.schedule import NewSchedule, Schedule
from ops_core.errors import ScheduleChanged, ScheduleExists, ScheduleNotFound


class FakeScheduleStore:
    """Schedules by namespace and name."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.rows: dict[tuple[str, str], Schedule] = {}

    async def add_schedule(self, new: NewSchedule) -> Schedule:
        key, now = (new.namespace, new.name), self._clock()
        if key in self.rows and self.rows[key].id != new.id:
            raise ScheduleExists(f"There is a schedule {new.name!r} already: change it, or choose another name.")
        self.rows[key] = Schedule(**asdict(new), created_at=now, updated_at=now)
        return self.rows[key]

    async def get_schedule(self, namespace: str, name: str) -> Schedule | None:
        return self.rows.get((namespace, name))

    async def list_schedules(self, namespace: str, *, after_name: str | None, limit: int) -> Sequence[Schedule]:
        own = sorted((row for (space, _), row in self.rows.items() if space == namespace), key=lambda row: row.name)
        return [row for row in own if after_name is None or row.name > after_name][:limit]

    async def replace_schedule_if_unchanged(self, before: Schedule, after: Schedule) -> Schedule:
        row = self._found(before.namespace, before.name)
        if (row.id, row.version, row.next_at) != (before.id, before.version, before.next_at):
            raise ScheduleChanged(f"The schedule {before.name!r} was changed meanwhile: read it again.")
        written = replace(
            row,
            cron=after.cron,
            timezone=after.timezone,
            submission=after.submission,
            catch_up=after.catch_up,
            paused=after.paused,
            next_at=after.next_at,
            version=row.version + 1,
            updated_at=self._clock(),
        )
        self.rows[row.namespace, row.name] = written
        return written

    async def advance_schedule_if_due(
        self, schedule: Schedule, *, next_at: datetime, last_task_id: UUID | None, last_error: str | None
    ) -> bool:
        row = self.rows.get((schedule.namespace, schedule.name))
        if row is None or row.paused:
            return False
        if (row.id, row.version, row.next_at) != (schedule.id, schedule.version, schedule.next_at):
            return False
        self.rows[row.namespace, row.name] = replace(
            row,
            next_at=next_at,
            last_at=self._clock(),
            last_task_id=last_task_id or row.last_task_id,
            last_error=last_error,
        )
        return True

    async def delete_schedule(self, namespace: str, name: str) -> None:
        self._found(namespace, name)
        del self.rows[namespace, name]

    async def list_due_schedules(self, *, limit: int) -> tuple[Sequence[Schedule], datetime]:
        now = self._clock()
        due = sorted((row for row in self.rows.values() if not row.paused and row.next_at <= now), key=_next_at)
        return due[:limit], now

    async def schedule_clock(self) -> datetime:
        return self._clock()

    def _found(self, namespace: str, name: str) -> Schedule:
        row = self.rows.get((namespace, name))
        if row is None:
            raise ScheduleNotFound(f"There is no schedule {name!r}.")
        return row


def _next_at(schedule: Schedule) -> datetime:
    return schedule.next_at
