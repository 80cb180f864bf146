"""The tick that fires schedules: submits for the times that are due, then says which one is next.

Each time has an idempotency key of its own, and the next time is written only if nobody else has. So any number of
housekeepers fire each time once, and what one that dies in between has submitted is found again by the next.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from ops_core.domain.caller import Caller, Role
from ops_core.domain.cron import CronLine
from ops_core.domain.schedule import CatchUp, Schedule
from ops_core.errors import IdempotencyKeyReused, InvalidInput, NotFound, PermissionDenied
from ops_core.ports import ScheduleStore
from ops_core.services.scheduled_submission import submission_from_json
from ops_core.services.tasks import TaskService
from ops_core.telemetry import LogEvent, get_logger

#: Schedules that one tick fires.
FIRE_LIMIT = 500
#: Most tasks that `catch_up: all` makes at once; the newest times win.
MAX_CAUGHT_UP = 100
#: A time that is fired later than this was missed: `catch_up` decides.
LATE_SECONDS = 60.0
_AT_ONCE = 20
_MAX_ERROR_CHARS = 1_000

#: Refusals that belong to this submission: the schedule says so, and goes on with its next time.
_REFUSED = (InvalidInput, NotFound, PermissionDenied)

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _Fired:
    """A time that has its task; its id, unless it was made from another submission before the schedule was changed."""

    task_id: UUID | None


@dataclass(frozen=True, slots=True)
class _NotFired:
    """A time that makes no task, and why."""

    reason: str


_Outcome: TypeAlias = _Fired | _NotFired


class ScheduleFiring:
    """Fires what is due. Safe to run in any number of processes."""

    def __init__(self, *, schedules: ScheduleStore, tasks: TaskService) -> None:
        self._schedules = schedules
        self._tasks = tasks
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def tick(self) -> int:
        """One round; how many schedules were due.

        Raises:
            Unavailable: some or all were not fired; the next tick does it.
        """
        due, now = await self._schedules.list_due_schedules(limit=FIRE_LIMIT)
        outcomes = await asyncio.gather(*(self._fire_in_turn(one, now) for one in due), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(due)

    async def seconds_until_due(self) -> float | None:
        """How long until the next time of a schedule; None when there is none.

        Raises:
            Unavailable.
        """
        return await self._schedules.seconds_until_schedule()

    async def _fire_in_turn(self, schedule: Schedule, now: datetime) -> None:
        async with self._turns:
            await self._fire(schedule, now)

    async def _fire(self, schedule: Schedule, now: datetime) -> None:
        line = CronLine(schedule.cron, schedule.timezone)
        times, left_out = _times_to_fire(schedule, line, now)
        task_id, errors = None, []
        for at in times:
            match await self._submit(schedule, at):
                case _Fired(fired):
                    task_id = fired or task_id
                case _NotFired(reason):
                    errors.append(f"{_rfc3339(at)}: {reason}")
        if left_out:
            errors.insert(0, f"more than {MAX_CAUGHT_UP} times were missed: those before {_rfc3339(times[0])} are left")
        next_at = line.next_after(now)
        advanced = await self._schedules.advance_schedule_if_due(
            schedule,
            # Fifty years without a time: the zone or the calendar has changed under it.
            next_at=next_at or now + timedelta(days=366),
            last_task_id=task_id,
            last_error="; ".join(errors)[:_MAX_ERROR_CHARS] or None,
        )
        if advanced:
            self._say(schedule, times, errors)

    async def _submit(self, schedule: Schedule, at: datetime) -> _Outcome:
        caller = Caller(namespace=schedule.namespace, subject=schedule.created_by, roles=frozenset({Role.submitter}))
        try:
            submission = replace(
                submission_from_json(schedule.submission),
                idempotency_key=f"schedule:{schedule.id}:{_rfc3339(at)}",
                schedule_id=schedule.id,
            )
            return _Fired((await self._tasks.submit(caller, submission)).task.id)
        except IdempotencyKeyReused:
            return _Fired(None)
        except (*_REFUSED, TypeError) as error:
            # TypeError: what is kept is no submission, such as one of a newer version.
            return _NotFired(str(error))

    def _say(self, schedule: Schedule, times: list[datetime], errors: list[str]) -> None:
        if errors:
            _log.warning(
                LogEvent.schedule_not_fired, schedule=schedule.name, namespace=schedule.namespace, reason=errors[0]
            )
        _log.info(LogEvent.schedule_fired, schedule=schedule.name, namespace=schedule.namespace, times=len(times))


def _times_to_fire(schedule: Schedule, line: CronLine, now: datetime) -> tuple[list[datetime], bool]:
    """What its policy makes of the times from its next one until now, the oldest first; and whether `all` left some
    out."""
    limit = MAX_CAUGHT_UP if schedule.catch_up is CatchUp.all else 1
    times, left_out = line.newest_until(now, since=schedule.next_at, limit=limit)
    match schedule.catch_up:
        case CatchUp.all:
            return times, left_out
        case CatchUp.one:
            return times, False
        case CatchUp.skip:
            return [at for at in times if now - at <= timedelta(seconds=LATE_SECONDS)], False


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
