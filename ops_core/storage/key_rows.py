"""The rows of concurrency keys and rate keys: each is its key's lock, taken in the order of the names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Text, TextClause, Uuid, bindparam, select, text

from ops_core.domain.rate import Rate
from ops_core.storage.column_types import UtcTime
from ops_core.storage.schema import IS_LET_IN_BY_RATE, rate_keys
from ops_core.storage.writes import Transaction

#: Namespace and key.
Name: TypeAlias = tuple[str, str]

_NOBODY = UUID(int=0)

# Who is next when a place is free: those that fit and that their rate, if they have one, may let in now.
_BLOCKED_BY_CONCURRENCY = text("""
SELECT id FROM tasks t WHERE blocked AND concurrency_key IS NOT NULL AND namespace = :namespace
    AND concurrency_key = :key AND concurrency_limit > :held AND id NOT IN :passed_over
    AND (rate_key IS NULL OR attempt > 0 OR rate_key NOT IN :closed_rates AND EXISTS (
        SELECT 1 FROM rate_keys r WHERE r.namespace = t.namespace AND r.rate_key = t.rate_key AND r.release_at <= :now))
ORDER BY priority DESC, rank, id LIMIT :limit
""").columns(id=Uuid)

# Who is next when the rate allows it: those whose concurrency key, if they have one, has a place.
_BLOCKED_BY_RATE = text("""
SELECT id, rate_limit, rate_seconds FROM tasks t WHERE blocked AND rate_key IS NOT NULL AND namespace = :namespace
    AND rate_key = :key AND attempt = 0 AND NOT EXISTS (
        SELECT 1 FROM concurrency_keys c WHERE c.namespace = t.namespace AND c.concurrency_key = t.concurrency_key
            AND c.held >= t.concurrency_limit)
ORDER BY priority DESC, rank, id LIMIT :limit
""").columns(id=Uuid)

_HELD_BACK_BY_RATE = text("""
SELECT rate_limit, rate_seconds FROM tasks WHERE blocked AND rate_key IS NOT NULL AND namespace = :namespace
    AND rate_key = :key AND attempt = 0 AND id NOT IN :passed_over
ORDER BY priority DESC, rank, id LIMIT 1
""")

_LET_IN_BY_RATE = text(f"""
SELECT count(*) AS found FROM (
    SELECT 1 FROM tasks WHERE {IS_LET_IN_BY_RATE} AND namespace = :namespace AND rate_key = :key AND attempt = 0
    LIMIT :limit
) counted
""")  # noqa: S608  a condition of ours

_PLACES_OF = text("""
SELECT DISTINCT namespace, concurrency_key FROM tasks
WHERE id IN :ids AND concurrency_key IS NOT NULL AND concurrency_limit IS NOT NULL
""")

_SET_PLACES = text(
    "UPDATE concurrency_keys SET held = :held, release_at = :release_at "
    "WHERE namespace = :namespace AND concurrency_key = :key"
)
_SET_RATE = text(
    "UPDATE rate_keys SET next_at = :next_at, release_at = :release_at WHERE namespace = :namespace AND rate_key = :key"
)
_FIND_RATE = text("SELECT next_at FROM rate_keys WHERE namespace = :namespace AND rate_key = :key").columns(
    next_at=UtcTime
)
_FIND_RATES_DUE = text(
    "SELECT namespace, rate_key AS key FROM rate_keys WHERE release_at <= :now ORDER BY release_at LIMIT :limit"
)
_FIND_PLACES_DUE = text(
    "SELECT namespace, concurrency_key AS key FROM concurrency_keys WHERE release_at <= :now "
    "ORDER BY release_at LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class PlacesRow:
    """A concurrency key as it stands."""

    held: int
    #: When its line is looked at again although nobody gives a place back; None for not at all.
    release_at: datetime | None


@dataclass(frozen=True, slots=True)
class RateRow:
    """A rate key as it stands."""

    #: Theoretical arrival time of the next task.
    next_at: datetime
    #: When blocked tasks are looked at again; None when none is blocked.
    release_at: datetime | None


async def lock_places(tx: Transaction, names: Collection[Name], now: datetime) -> dict[Name, PlacesRow]:
    if not names:
        return {}
    statement = _upsert("concurrency_keys", "concurrency_key", "held, release_at", "0, NULL", names, now)
    rows = await tx.run(statement.columns(release_at=UtcTime))
    return {(row["namespace"], row["key"]): PlacesRow(row["held"], row["release_at"]) for row in rows}


async def places_of(tx: Transaction, ids: Collection[UUID]) -> set[Name]:
    """The concurrency keys that these tasks want places of."""
    if not ids:
        return set()
    rows = await tx.run(_PLACES_OF.bindparams(bindparam("ids", [*ids], type_=Uuid(), expanding=True)))
    return {(row["namespace"], row["concurrency_key"]) for row in rows}


async def write_places(tx: Transaction, name: Name, row: PlacesRow) -> None:
    release_at = bindparam("release_at", row.release_at, type_=UtcTime)
    await tx.run(_SET_PLACES.bindparams(release_at, held=row.held, **_of(name)))


async def lock_rates(tx: Transaction, names: Collection[Name], now: datetime) -> dict[Name, RateRow]:
    if not names:
        return {}
    statement = _upsert("rate_keys", "rate_key", "next_at, release_at", ":now, NULL", names, now)
    rows = await tx.run(statement.columns(next_at=UtcTime, release_at=UtcTime))
    return {(row["namespace"], row["key"]): RateRow(row["next_at"], row["release_at"]) for row in rows}


async def lock_rate_if_free(tx: Transaction, name: Name) -> RateRow | None:
    """None when somebody else holds it."""
    column = rate_keys.c
    is_it = (column.namespace == name[0], column.rate_key == name[1])
    rows = await tx.run(select(column.next_at, column.release_at).where(*is_it).with_for_update(skip_locked=True))
    return RateRow(rows[0]["next_at"], rows[0]["release_at"]) if rows else None


async def write_rate(tx: Transaction, name: Name, row: RateRow) -> None:
    times = [bindparam("next_at", row.next_at, type_=UtcTime), bindparam("release_at", row.release_at, type_=UtcTime)]
    await tx.run(_SET_RATE.bindparams(*times, namespace=name[0], key=name[1]))


async def blocked_by_concurrency(
    tx: Transaction,
    name: Name,
    *,
    held: int,
    now: datetime,
    passed_over: Collection[UUID],
    closed_rates: Collection[str],
    limit: int,
) -> Sequence[UUID]:
    """The best tasks that could have a place, but for those of these rates."""
    values = (
        bindparam("now", now, type_=UtcTime),
        bindparam("closed_rates", ["", *closed_rates], type_=Text(), expanding=True),
        _not_these(passed_over),
    )
    rows = await tx.run(_BLOCKED_BY_CONCURRENCY.bindparams(*values, **_of(name), held=held, limit=limit))
    return [row["id"] for row in rows]


async def blocked_by_rate(tx: Transaction, name: Name, *, limit: int) -> Sequence[tuple[UUID, Rate]]:
    """The best tasks that could start, and what they say of their rate."""
    rows = await tx.run(_BLOCKED_BY_RATE.bindparams(**_of(name), limit=limit))
    return [(row["id"], Rate(row["rate_limit"], row["rate_seconds"])) for row in rows]


async def held_back_by_rate(tx: Transaction, name: Name, *, passed_over: Collection[UUID]) -> Rate | None:
    """What the best task says that is held back, for whatever reason, and has a rate; None when there is none."""
    rows = await tx.run(_HELD_BACK_BY_RATE.bindparams(_not_these(passed_over), **_of(name)))
    return Rate(rows[0]["rate_limit"], rows[0]["rate_seconds"]) if rows else None


async def count_let_in_by_rate(tx: Transaction, name: Name, *, limit: int) -> int:
    """How many tasks of a rate were let in and not yet claimed; counted up to the limit."""
    rows = await tx.run(_LET_IN_BY_RATE.bindparams(**_of(name), limit=limit))
    found: int = rows[0]["found"]
    return found


async def rate_next_at(tx: Transaction, name: Name) -> datetime | None:
    rows = await tx.run(_FIND_RATE.bindparams(**_of(name)))
    return rows[0]["next_at"] if rows else None


async def rates_due(tx: Transaction, now: datetime, *, limit: int) -> Sequence[Name]:
    """Keys whose blocked tasks are to be looked at, the longest due first."""
    return await _due(tx, _FIND_RATES_DUE, now, limit)


async def places_due(tx: Transaction, now: datetime, *, limit: int) -> Sequence[Name]:
    """The same of concurrency keys."""
    return await _due(tx, _FIND_PLACES_DUE, now, limit)


async def _due(tx: Transaction, statement: TextClause, now: datetime, limit: int) -> Sequence[Name]:
    rows = await tx.run(statement.bindparams(bindparam("now", now, type_=UtcTime), limit=limit))
    return [(row["namespace"], row["key"]) for row in rows]


def _of(name: Name) -> dict[str, Any]:
    return {"namespace": name[0], "key": name[1]}


def _not_these(ids: Collection[UUID]) -> Any:
    return bindparam("passed_over", [_NOBODY, *ids], type_=Uuid(), expanding=True)


def _upsert(table: str, key: str, columns: str, first: str, names: Collection[Name], now: datetime) -> TextClause:
    """Add the rows that are not there and lock them all, in the order of the names."""
    ordered = sorted(names)
    rows = ", ".join(f"(:n{i}, :k{i}, {first}, :now)" for i in range(len(ordered)))
    statement = text(f"""
    INSERT INTO {table} (namespace, {key}, {columns}, used_at) VALUES {rows}
    ON CONFLICT (namespace, {key}) DO UPDATE SET used_at = excluded.used_at
    RETURNING namespace, {key} AS key, {columns}
    """)  # noqa: S608  names of ours
    values = {f"n{i}": namespace for i, (namespace, _) in enumerate(ordered)}
    values |= {f"k{i}": key for i, (_, key) in enumerate(ordered)}
    return statement.bindparams(bindparam("now", now, type_=UtcTime), **values)
