"""Signals: given to the step that waits for them, or kept until one does; in the order of sending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, tuple_, update

from ops_core.domain.event import EventType
from ops_core.domain.signal import NewSignal, Signal
from ops_core.domain.task import JsonObject
from ops_core.domain.wait import WaitKind
from ops_core.errors import IdempotencyKeyReused, TaskFinished, TaskNotFound, TooManySignals
from ops_core.ports import Sent
from ops_core.storage import settle
from ops_core.storage.consequences import written
from ops_core.storage.json_text import dump_json, refuse_unstorable
from ops_core.storage.long_json import stored_in
from ops_core.storage.reader import Reader
from ops_core.storage.schema import signals, waits
from ops_core.storage.settlement import Settlement, rings_of
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.waits import answered, wake
from ops_core.storage.writes import Change, HeldTask, Transaction


class SqlSignalStore:
    """See `SignalStore`."""

    def __init__(self, *, single: SingleWrite, reader: Reader) -> None:
        self._single = single
        self._reader = reader

    async def send_signal(self, namespace: str, task_id: UUID, new: NewSignal, *, max_kept: int) -> Sent:
        refuse_unstorable(name=new.name, sent_by=new.sent_by, idempotency_key=new.idempotency_key)

        #: What an earlier try wrote, or not: its answer was lost.
        tried: Sequence[Change] = ()

        async def send(tx: Transaction) -> tuple[Signal, bool, Sequence[Change]]:
            nonlocal tried
            # The task's lock comes first: whoever suspends it looks for kept signals under the same one.
            settlement = Settlement(tx, await tx.lock([task_id]))
            task = settlement.held(task_id)
            if task is None or task.namespace != namespace:
                raise TaskNotFound(f"There is no task {task_id}. List tasks to find the one you mean.")
            known = await _known(tx, task_id, new)
            if known is not None:
                return known, known.id != new.id, tried if known.id == new.id else ()
            sent = await _deliver(settlement, task, new, max_kept)
            tried = await written(settlement)
            return sent, False, tried

        signal, replayed, changes = await self._single.run_repeatable(send)
        self._single.tell(changes)
        return Sent(signal, replayed, rings_of(changes))

    async def list_signals(
        self, namespace: str, task_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[Signal]:
        column, place = signals.c, tuple_(signals.c.sent_at, signals.c.id)
        statement = select(signals).where(column.task_id == task_id, column.namespace == namespace)
        if after is not None:
            statement = statement.where(place > after)
        rows = await self._reader.rows(statement.order_by(*place).limit(limit))
        return [_signal(row) for row in rows]


async def take_kept(tx: Transaction, awaited: Sequence[tuple[UUID, str, str]]) -> Mapping[tuple[UUID, str], JsonObject]:
    """For steps of held tasks (task, step key, name of the signal) take the oldest signal that is kept for each."""
    column = signals.c
    is_wanted = (
        column.task_id.in_(sorted({task_id for task_id, _, _ in awaited})),
        column.name.in_(sorted({name for _, _, name in awaited})),
    )
    kept = select(column.id, column.task_id, column.name).where(*is_wanted, column.taken_by.is_(None))
    rows = list(await tx.run(kept.order_by(column.task_id, column.name, column.sent_at, column.id)))
    taken: dict[tuple[UUID, str], JsonObject] = {}
    for task_id, key, name in awaited:
        oldest = next((row for row in rows if (row["task_id"], row["name"]) == (task_id, name)), None)
        if oldest is not None:
            rows.remove(oldest)
            take = update(signals).where(column.id == oldest["id"]).values(taken_by=key)
            (signal,) = await tx.run(take.returning(column.payload, column.sent_by))
            taken[task_id, key] = _answer(signal["payload"], signal["sent_by"])
    return taken


async def _known(tx: Transaction, task_id: UUID, new: NewSignal) -> Signal | None:
    """The signal of this id (ours, its answer was lost) or idempotency key.

    Raises:
        IdempotencyKeyReused
    """
    column = signals.c
    rows = await tx.run(select(signals).where(column.id == new.id))
    if not rows and new.idempotency_key is not None:
        has_key = (column.task_id == task_id, column.idempotency_key == new.idempotency_key)
        rows = await tx.run(select(signals).where(*has_key))
    if not rows:
        return None
    known = _signal(rows[0])
    if known.task_id != task_id or (known.name, dump_json(known.payload)) != (new.name, dump_json(new.payload)):
        raise IdempotencyKeyReused(
            f"The key {new.idempotency_key!r} was used for another signal of this task: choose another."
        )
    return known


async def _deliver(settlement: Settlement, task: HeldTask, new: NewSignal, max_kept: int) -> Signal:
    """Raises:
    TaskFinished, TooManySignals.
    """
    if task.status.is_final:
        raise TaskFinished(f"The task is {task.status} already: only a live task takes signals. A retry reopens it.")
    column = waits.c
    is_awaited = (column.task_id == task.id, column.kind == WaitKind.signal, column.name == new.name)
    rows = await settlement.tx.run(
        select(column.step_key).where(*is_awaited).order_by(column.since, column.step_key).limit(1)
    )
    taken_by = rows[0]["step_key"] if rows else None
    if taken_by is None:
        await _check_room(settlement.tx, task.id, max_kept)
    values = {
        "id": new.id,
        "namespace": task.namespace,
        "task_id": task.id,
        "name": new.name,
        "payload": new.payload,
        "sent_by": new.sent_by,
        "sent_at": settlement.now,
        "idempotency_key": new.idempotency_key,
        "taken_by": taken_by,
    }
    await settlement.tx.run(insert(signals).values(values))
    if taken_by is not None:
        await answered(settlement, task.id, taken_by, _answer(new.payload, new.sent_by))
        wake(settlement, task.id, taken_by)
    else:
        stored = await stored_in(
            settlement.tx, task.namespace, {"name": new.name, "id": str(new.id), "by": new.sent_by}
        )
        entry = settle.Entry(type=EventType.signal_kept, payload=stored)
        settlement.change(settle.logged(task, [entry], settlement.now))
    return _signal(values)


async def _check_room(tx: Transaction, task_id: UUID, max_kept: int) -> None:
    one = select(signals.c.id).where(signals.c.task_id == task_id, signals.c.taken_by.is_(None)).limit(max_kept)
    (row,) = await tx.run(select(func.count().label("kept")).select_from(one.subquery()))
    if row["kept"] >= max_kept:
        raise TooManySignals(
            f"The task keeps {max_kept:,} signals already that nothing has waited for: send it when one is awaited."
        )


def _answer(payload: Any, by: str) -> JsonObject:
    return {"payload": payload, "by": by}


def _signal(row: Mapping[str, Any]) -> Signal:
    return Signal(
        id=row["id"],
        task_id=row["task_id"],
        name=row["name"],
        payload=row["payload"],
        sent_by=row["sent_by"],
        sent_at=row["sent_at"],
        idempotency_key=row["idempotency_key"],
        taken_by=row["taken_by"],
    )
