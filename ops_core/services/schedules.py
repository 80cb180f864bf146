"""What callers can do with schedules: create, look, change, pause, resume, trigger, delete."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ops_core.domain.caller import Caller, Operation
from ops_core.domain.cron import CronLine
from ops_core.domain.schedule import SCHEDULE_NAME, CatchUp, NewSchedule, Schedule
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import FieldProblem, InvalidInput, OpsCoreError, ScheduleChanged, ScheduleNotFound
from ops_core.ports import ScheduleStore
from ops_core.services.name_cursors import decode_name_cursor, encode_name_cursor
from ops_core.services.permission import require
from ops_core.services.scheduled_submission import submission_from_json, submission_to_json
from ops_core.services.submission import Submission
from ops_core.services.tasks import Submitted, TaskService
from ops_core.telemetry import LogEvent, get_logger

_NAME = re.compile(SCHEDULE_NAME)
_MAX_PAGE = 200
#: Most times that `next_times` tells.
MAX_NEXT_TIMES = 100
#: A schedule that is fired between our reading and our writing is read again, so often.
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDraft:
    """A schedule that somebody wants."""

    #: Unique in its namespace.
    name: str
    #: Five fields: minute, hour, day of month, month, day of week.
    cron: str
    #: IANA name.
    timezone: str = "UTC"
    #: What each time submits; without `run_at`, `idempotency_key` and `traceparent`.
    submission: Submission
    catch_up: CatchUp = CatchUp.one
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChange:
    """What is to be different; None stays as it is."""

    cron: str | None = None
    timezone: str | None = None
    submission: Submission | None = None
    catch_up: CatchUp | None = None


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """Some schedules by name, and where the list goes on."""

    schedules: Sequence[Schedule]
    next_cursor: str | None


class ScheduleService:
    """Schedules of the caller's namespace. All methods raise StoreUnavailable when the database cannot be reached, and
    PermissionDenied when the caller's roles do not allow them."""

    def __init__(self, *, schedules: ScheduleStore, tasks: TaskService) -> None:
        self._schedules = schedules
        self._tasks = tasks
        self._ids = Uuid7Source()
        self._log = get_logger()

    async def create(self, caller: Caller, draft: ScheduleDraft) -> Schedule:
        """A schedule that fires from its next time on, as its creator.

        Raises:
            InvalidInput: the name, the cron line, the zone, or what it would submit; the latter's problems have
            pointers that begin with /submission. AgentNotFound, InputSchemaMismatch, ModelNotConfigured: as a submit.
            ScheduleExists.
        """
        require(caller, Operation.schedule)
        if not _NAME.fullmatch(draft.name):
            _refuse("/name", "must be 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit")
        now = await self._schedules.schedule_clock()
        line = CronLine.parse(draft.cron, draft.timezone, now=now)
        await self._check(caller, draft.submission)
        new = NewSchedule(
            id=self._ids.new(),
            namespace=caller.namespace,
            name=draft.name,
            cron=line.cron,
            timezone=line.timezone,
            submission=submission_to_json(draft.submission),
            catch_up=draft.catch_up,
            paused=draft.paused,
            next_at=_next(line, now),
            created_by=caller.subject,
        )
        schedule = await self._schedules.add_schedule(new)
        self._log.info(LogEvent.schedule_created, schedule=schedule.name, by=caller.subject)
        return schedule

    async def get(self, caller: Caller, name: str) -> Schedule:
        """Raises:
        ScheduleNotFound
        """
        require(caller, Operation.look)
        return await self._found(caller, name)

    async def list(self, caller: Caller, *, limit: int = 50, cursor: str | None = None) -> SchedulePage:
        """By name.

        Raises:
            CursorMalformed, InvalidInput.
        """
        require(caller, Operation.look)
        if not 1 <= limit <= _MAX_PAGE:
            _refuse("/limit", f"must be between 1 and {_MAX_PAGE}, not {limit}")
        after = decode_name_cursor("schedules", caller.namespace, cursor) if cursor is not None else None
        # One more than asked for tells whether there is a next page.
        found = await self._schedules.list_schedules(caller.namespace, after_name=after, limit=limit + 1)
        if len(found) <= limit:
            return SchedulePage(found, None)
        return SchedulePage(found[:limit], encode_name_cursor("schedules", caller.namespace, found[limit - 1].name))

    async def update(
        self, caller: Caller, name: str, change: ScheduleChange, *, version: int | None = None
    ) -> Schedule:
        """Change what is given. With another cron line or zone it goes on with that line's next time from now, and
        forgets what it has missed. `version`: only if it still has this one.

        Raises:
            ScheduleNotFound, ScheduleChanged. As `create`.
        """
        require(caller, Operation.schedule)
        if change.submission is not None:
            await self._check(caller, change.submission)

        def changed(before: Schedule, now: datetime) -> Schedule:
            cron = before.cron if change.cron is None else change.cron
            timezone = before.timezone if change.timezone is None else change.timezone
            line = CronLine.parse(cron, timezone, now=now)
            is_other = (line.cron, line.timezone) != (before.cron, before.timezone)
            return replace(
                before,
                cron=line.cron,
                timezone=line.timezone,
                submission=before.submission if change.submission is None else submission_to_json(change.submission),
                catch_up=before.catch_up if change.catch_up is None else change.catch_up,
                next_at=_next(line, now) if is_other else before.next_at,
            )

        return await self._change(caller, name, changed, version=version, verb="update")

    async def delete(self, caller: Caller, name: str) -> None:
        """Its tasks stay.

        Raises:
            ScheduleNotFound.
        """
        require(caller, Operation.schedule)
        await self._schedules.delete_schedule(caller.namespace, name)
        self._log.info(LogEvent.schedule_deleted, schedule=name, by=caller.subject)

    async def pause(self, caller: Caller, name: str) -> Schedule:
        """Fire no more until it is resumed. Harmless when it is paused.

        Raises:
            ScheduleNotFound.
        """
        require(caller, Operation.schedule)
        return await self._change(caller, name, lambda before, _: replace(before, paused=True), verb="pause")

    async def resume(self, caller: Caller, name: str) -> Schedule:
        """Go on. The times that have passed meanwhile are missed times: `catch_up` says what becomes of them. Harmless
        when it is not paused.

        Raises:
            ScheduleNotFound.
        """
        require(caller, Operation.schedule)

        def resumed(before: Schedule, now: datetime) -> Schedule:
            if not before.paused:
                return before
            skips = before.catch_up is CatchUp.skip and before.next_at <= now
            next_at = _next(CronLine(before.cron, before.timezone), now) if skips else before.next_at
            return replace(before, paused=False, next_at=next_at)

        return await self._change(caller, name, resumed, verb="resume")

    async def trigger(self, caller: Caller, name: str, *, idempotency_key: str | None = None) -> Submitted:
        """Submit now what it submits, as the caller; its own times stay as they are. Paused schedules too.

        Raises:
            ScheduleNotFound. As `TaskService.submit`.
        """
        require(caller, Operation.schedule)
        schedule = await self._found(caller, name)
        submission = submission_from_json(schedule.submission)
        wanted = replace(submission, idempotency_key=idempotency_key, schedule_id=schedule.id)
        return await self._tasks.submit(caller, wanted)

    async def next_times(self, caller: Caller, name: str, *, count: int = 5) -> Sequence[datetime]:
        """The times to come (UTC), at most `count`; those of a paused schedule as if it went on now.

        Raises:
            ScheduleNotFound. InvalidInput: `count` is not between 1 and 100.
        """
        require(caller, Operation.look)
        if not 1 <= count <= MAX_NEXT_TIMES:
            _refuse("/count", f"must be between 1 and {MAX_NEXT_TIMES}, not {count}")
        schedule = await self._found(caller, name)
        now = await self._schedules.schedule_clock()
        return CronLine(schedule.cron, schedule.timezone).first_after(now, count=count)

    async def _found(self, caller: Caller, name: str) -> Schedule:
        schedule = await self._schedules.get_schedule(caller.namespace, name)
        if schedule is None:
            raise ScheduleNotFound(f"There is no schedule {name[:128]!r}. List schedules to find the one you mean.")
        return schedule

    async def _change(
        self,
        caller: Caller,
        name: str,
        decide: Callable[[Schedule, datetime], Schedule],
        *,
        version: int | None = None,
        verb: str,
    ) -> Schedule:
        """Read, decide, write if it is still as it was read."""
        for _ in range(_TRIES):
            before = await self._found(caller, name)
            if version is not None and before.version != version:
                break
            after = decide(before, await self._schedules.schedule_clock())
            if after == before:
                return before
            try:
                written = await self._schedules.replace_schedule_if_unchanged(before, after)
            except ScheduleChanged:
                continue
            self._log.info(LogEvent.schedule_changed, schedule=name, by=caller.subject, change=verb)
            return written
        raise ScheduleChanged(f"The schedule {name!r} was changed meanwhile: read it again, then change it.")

    async def _check(self, caller: Caller, submission: Submission) -> None:
        """Raises as a submit, with pointers below /submission."""
        for field in ("run_at", "idempotency_key", "traceparent"):
            if getattr(submission, field) is not None:
                _refuse(f"/submission/{field}", "cannot be given: each time of the schedule makes its own")
        try:
            await self._tasks.check(caller, submission)
        except OpsCoreError as error:
            problems = [FieldProblem(f"/submission{problem.pointer}", problem.detail) for problem in error.problems]
            raise type(error)(error.detail, problems=problems) from error


def _next(line: CronLine, now: datetime) -> datetime:
    """The line's next time; it is known to have one."""
    found = line.next_after(now)
    if found is None:
        raise InvalidInput(f"The cron line {line.cron!r} never fires.")
    return found


def _refuse(pointer: str, detail: str) -> None:
    raise InvalidInput(f"`{pointer[1:]}` {detail}.", problems=[FieldProblem(pointer, detail)])
