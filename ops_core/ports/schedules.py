"""Where schedules are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ops_core.domain.schedule import NewSchedule, Schedule


class ScheduleStore(Protocol):
    """Schedules, and the times that are due."""

    async def add_schedule(self, new: NewSchedule) -> Schedule:
        """Raises:
        ScheduleExists.
        """

    async def get_schedule(self, namespace: str, name: str) -> Schedule | None: ...

    async def list_schedules(self, namespace: str, *, after_name: str | None, limit: int) -> Sequence[Schedule]: ...

    async def replace_schedule_if_unchanged(self, before: Schedule, after: Schedule) -> Schedule:
        """Write what a person has changed, if the schedule is as it was read: version and next time. The version is
        raised.

        Raises:
            ScheduleNotFound, ScheduleChanged.
        """

    async def advance_schedule_if_due(
        self, schedule: Schedule, *, next_at: datetime, last_task_id: UUID | None, last_error: str | None
    ) -> bool:
        """Say that its times before `next_at` are dealt with, if it is as it was read; its version stays. False when
        somebody else was first, or has changed it. `last_task_id` None: no task was made, the one before stays."""

    async def delete_schedule(self, namespace: str, name: str) -> None:
        """Raises:
        ScheduleNotFound.
        """

    async def list_due_schedules(self, *, limit: int) -> tuple[Sequence[Schedule], datetime]:
        """Schedules whose next time has come, the longest due first, and the database's now."""

    async def seconds_until_schedule(self) -> float | None:
        """How long until the next time of any schedule, by the database's clock; None when none has one."""

    async def schedule_clock(self) -> datetime:
        """The database's now: what the times of schedules are compared with."""
