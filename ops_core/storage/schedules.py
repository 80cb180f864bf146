"""Schedules as services need them: add, read, change, and say which times are dealt with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, and_, delete, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from ops_core.domain.schedule import CatchUp, NewSchedule, Schedule
from ops_core.errors import ScheduleChanged, ScheduleExists, ScheduleNotFound
from ops_core.storage.database_clock import DatabaseClock
from ops_core.storage.json_text import refuse_unstorable
from ops_core.storage.reader import Reader
from ops_core.storage.schema import schedules
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import Transaction

_OWN = schedules.c
#: What a person changes.
_WRITTEN = ("cron", "timezone", "submission", "catch_up", "paused", "next_at")


class SqlScheduleStore:
    """See `ScheduleStore`."""

    def __init__(self, *, single: SingleWrite, reader: Reader, clock: DatabaseClock, is_sqlite: bool) -> None:
        self._single = single
        self._reader = reader
        self._clock = clock
        self._is_sqlite = is_sqlite

    async def add_schedule(self, new: NewSchedule) -> Schedule:
        refuse_unstorable(namespace=new.namespace, name=new.name, created_by=new.created_by)

        async def add(tx: Transaction) -> Schedule:
            at = await tx.now()
            values = {field.name: getattr(new, field.name) for field in fields(NewSchedule)}
            row = {**values, "catch_up": str(new.catch_up), "created_at": at, "updated_at": at, "version": 1}
            await tx.run(self._insert_unless_known(row))
            added = await _must_find(tx, new.namespace, new.name)
            # Another id: somebody else's. Ours, although it was there: written before the answer was lost.
            if added.id != new.id:
                raise ScheduleExists(f"There is a schedule {new.name!r} already: change it, or choose another name.")
            return added

        return await self._single.run_repeatable(add)

    async def get_schedule(self, namespace: str, name: str) -> Schedule | None:
        row = await self._reader.first(select(schedules).where(_is(namespace, name)))
        return _schedule(row) if row is not None else None

    async def list_schedules(self, namespace: str, *, after_name: str | None, limit: int) -> Sequence[Schedule]:
        statement = select(schedules).where(_OWN.namespace == namespace)
        if after_name is not None:
            statement = statement.where(_OWN.name > after_name)
        return [_schedule(row) for row in await self._reader.rows(statement.order_by(_OWN.name).limit(limit))]

    async def replace_schedule_if_unchanged(self, before: Schedule, after: Schedule) -> Schedule:
        values = {name: getattr(after, name) for name in _WRITTEN} | {"catch_up": str(after.catch_up)}

        async def replace(tx: Transaction) -> Schedule:
            statement = update(schedules).where(_is_as_read(before), _OWN.version == before.version)
            written = {**values, "version": before.version + 1, "updated_at": await tx.now()}
            await tx.run(statement.values(written))
            found = await _must_find(tx, before.namespace, before.name)
            # Looked at and not counted: it may have been written before an answer that was lost.
            is_written = found.version == before.version + 1 and all(
                getattr(found, name) == getattr(after, name) for name in _WRITTEN
            )
            if found.id != before.id or not is_written:
                raise ScheduleChanged(f"The schedule {before.name!r} was changed meanwhile: read it again.")
            return found

        return await self._single.run_repeatable(replace)

    async def advance_schedule_if_due(
        self, schedule: Schedule, *, next_at: datetime, last_task_id: UUID | None, last_error: str | None
    ) -> bool:
        values: dict[str, Any] = {"next_at": next_at, "last_error": last_error}
        if last_task_id is not None:
            values["last_task_id"] = last_task_id

        async def advance(tx: Transaction) -> bool:
            is_mine = and_(_is_as_read(schedule), _OWN.version == schedule.version, _OWN.paused.is_(False))
            statement = update(schedules).where(is_mine).values(**values, last_at=await tx.now()).returning(_OWN.id)
            return bool(await tx.run(statement))

        return await self._single.run_repeatable(advance)

    async def delete_schedule(self, namespace: str, name: str) -> None:
        async def drop(tx: Transaction) -> bool:
            return bool(await tx.run(delete(schedules).where(_is(namespace, name)).returning(_OWN.id)))

        if not await self._single.run_repeatable(drop):
            raise _not_found(name)

    async def list_due_schedules(self, *, limit: int) -> tuple[Sequence[Schedule], datetime]:
        now = await self._clock.now()
        due = select(schedules).where(text("NOT paused"), _OWN.next_at <= now).order_by(_OWN.next_at).limit(limit)
        return [_schedule(row) for row in await self._reader.rows(due)], now

    async def seconds_until_schedule(self) -> float | None:
        # The condition of the index, word by word.
        soonest = select(_OWN.next_at).where(text("NOT paused")).order_by(_OWN.next_at).limit(1)
        row = await self._reader.first(soonest)
        return (row["next_at"] - await self._clock.now()).total_seconds() if row is not None else None

    def _insert_unless_known(self, row: Mapping[str, Any]) -> Insert:
        if self._is_sqlite:
            return sqlite.insert(schedules).values(row).on_conflict_do_nothing()
        return postgresql.insert(schedules).values(row).on_conflict_do_nothing()


def _is(namespace: str, name: str) -> ColumnElement[bool]:
    return and_(_OWN.namespace == namespace, _OWN.name == name)


def _is_as_read(schedule: Schedule) -> ColumnElement[bool]:
    return and_(_OWN.id == schedule.id, _OWN.next_at == schedule.next_at)


async def _must_find(tx: Transaction, namespace: str, name: str) -> Schedule:
    rows = await tx.run(select(schedules).where(_is(namespace, name)))
    if not rows:
        raise _not_found(name)
    return _schedule(rows[0])


def _not_found(name: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"There is no schedule {name[:128]!r}. List schedules to find the one you mean.")


def _schedule(row: Mapping[str, Any]) -> Schedule:
    return Schedule(**{**row, "catch_up": CatchUp(row["catch_up"])})
