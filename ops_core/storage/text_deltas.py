"""The text of steps that models are writing, so far: saved a few times a second, gone when the step is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, select, tuple_

from ops_core.domain.task import TaskStatus
from ops_core.domain.text import TextDelta
from ops_core.errors import OpsCoreError
from ops_core.ports import Lease
from ops_core.storage.group_commit import GroupCommit
from ops_core.storage.reader import Reader
from ops_core.storage.schema import task_deltas, tasks
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import Backend, TextAsk, Transaction


class SqlTextStore:
    """See `TextStore`."""

    def __init__(self, *, texts: GroupCommit[TextAsk, None], single: SingleWrite, reader: Reader) -> None:
        self._texts = texts
        self._single = single
        self._reader = reader

    async def save_text(self, lease: Lease, step_key: str, text: str) -> None:
        # As JSON: a model may write NUL, which PostgreSQL's text cannot hold.
        await self._texts.write(_ask(lease, step_key, json.dumps(text)))

    async def forget_text(self, lease: Lease, step_key: str | None = None) -> None:
        await self._texts.write(_ask(lease, step_key, None))

    async def list_text(self, task_id: UUID, *, epoch: int) -> Sequence[TextDelta]:
        own = (task_deltas.c.task_id == task_id) & (task_deltas.c.epoch == epoch)
        rows = await self._reader.rows(select(task_deltas).where(own).order_by(task_deltas.c.step_key))
        return [_delta(row) for row in rows]

    async def list_texts(self, epochs: Mapping[UUID, int]) -> Mapping[UUID, Sequence[TextDelta]]:
        column = task_deltas.c
        statement = (
            select(column.task_id, column.step_key, column.epoch, column.body)
            .where(column.task_id.in_(list(epochs)))
            .order_by(column.task_id, column.step_key)
        )
        texts: dict[UUID, list[TextDelta]] = {}
        for row in await self._reader.rows(statement):
            if row["epoch"] == epochs[row["task_id"]]:
                texts.setdefault(row["task_id"], []).append(_delta(row))
        return texts

    async def forget_left_text(self, *, limit: int) -> int:
        runs = exists().where(tasks.c.id == task_deltas.c.task_id, tasks.c.status == TaskStatus.running)
        left = select(task_deltas.c.task_id, task_deltas.c.step_key).where(~runs).limit(limit)
        key = tuple_(task_deltas.c.task_id, task_deltas.c.step_key)

        async def forget(tx: Transaction) -> int:
            return len(await tx.run(delete(task_deltas).where(key.in_(left)).returning(task_deltas.c.task_id)))

        return await self._single.run_repeatable(forget)


class TextBatch:
    """Text of many tasks, each at most once. All of it is harmless when it is written twice."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def key(self, item: TextAsk) -> UUID:
        return item.task_id

    async def write(self, items: Sequence[TextAsk]) -> Sequence[OpsCoreError | None]:
        kept = [item for item in items if item.body is not None]
        forgotten = [item for item in items if item.body is None]

        async def write(tx: Transaction) -> None:
            if forgotten:
                await tx.forget_texts(forgotten)
            if kept:
                await tx.save_texts(kept)

        await self._backend.autocommit(write)
        return [None for _ in items]

    async def write_unless_written(self, items: Sequence[TextAsk]) -> Sequence[OpsCoreError | None]:
        return await self.write(items)


def _ask(lease: Lease, step_key: str | None, body: str | None) -> TextAsk:
    return TextAsk(task_id=lease.task_id, epoch=lease.epoch, step_key=step_key, body=body)


def _delta(row: Mapping[str, Any]) -> TextDelta:
    return TextDelta(step_key=row["step_key"], epoch=row["epoch"], offset=0, text=json.loads(row["body"]))
