"""One statement on both databases' own drivers: values go in and come out as the tables' types say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, insert, select, update

from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.postgres.backend import PostgresBackend
from ops_core.storage.schema import schedules, signals
from ops_core.storage.sqlite.backend import SqliteBackend
from ops_core.storage.writes import Backend, Transaction


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    url = DatabaseUrl.parse(request.getfixturevalue(f"{request.param}_url"))
    made: Backend
    if url.is_sqlite:
        made = SqliteBackend(url.sqlite_path)
    else:
        made = PostgresBackend(url.libpq, connections=1, answer_seconds=5)
    yield made
    await made.aclose()


async def test_what_is_inserted_is_read_back_the_same(backend: Backend) -> None:
    row = {
        "id": uuid4(),
        "namespace": "default",
        "task_id": uuid4(),
        "name": "paid",
        "payload": {"b": 1.0, "a": ["it's 100 %s :x", None]},
        "sent_by": "ada",
        "sent_at": datetime.now(UTC),
        "idempotency_key": None,
        "taken_by": None,
    }

    async def work(tx: Transaction) -> None:
        await tx.run(insert(signals).values(**row))
        wanted = select(signals).where(signals.c.task_id == row["task_id"], signals.c.name.in_(["paid", "x"]))
        assert await tx.run(wanted.order_by(signals.c.sent_at).limit(5).with_for_update()) == [row]
        taken = update(signals).where(signals.c.id == row["id"]).values(taken_by="1/tool/1")
        assert await tx.run(taken.returning(signals.c.id, signals.c.sent_at)) == [
            {"id": row["id"], "sent_at": row["sent_at"]}
        ]
        assert await tx.run(delete(signals).where(signals.c.id == row["id"])) == []
        assert await tx.run(select(func.count().label("left")).select_from(signals)) == [{"left": 0}]
        assert await tx.run(select(schedules).where(schedules.c.paused.is_(False))) == []

    await backend.transact(work)


async def test_a_value_among_several_goes_in_as_its_column_says(backend: Backend) -> None:
    id, now = uuid4(), datetime.now(UTC)
    values = {"id": id, "namespace": "default", "task_id": id, "name": "x", "sent_by": "ada", "sent_at": now}

    async def work(tx: Transaction) -> None:
        await tx.run(insert(signals).values(**values))
        for column, value in ((signals.c.task_id, id), (signals.c.sent_at, now), (signals.c.name, "x")):
            assert await tx.run(select(signals.c.id).where(column.in_([value, value]))) == [{"id": id}]
            assert await tx.run(select(signals.c.id).where(column.in_([]))) == []

    await backend.transact(work)


@pytest.mark.parametrize("payload", [None, "text", 17, [], {"deep": {"er": 1e22}}])
async def test_any_json_value_comes_back_as_it_went_in(backend: Backend, payload: object) -> None:
    id, now = uuid4(), datetime.now(UTC)

    async def work(tx: Transaction) -> None:
        values = {"id": id, "namespace": "default", "task_id": id, "name": "x", "sent_by": "ada", "sent_at": now}
        await tx.run(insert(signals).values(**values, payload=payload))
        assert await tx.run(select(signals.c.payload).where(signals.c.id == id)) == [{"payload": payload}]

    await backend.transact(work)


async def test_a_statement_of_the_same_shape_has_its_own_values(backend: Backend) -> None:
    """Its text is compiled once: of the first one nothing may stay but the shape, however many values are in it."""
    task, now = uuid4(), datetime.now(UTC)
    ids = [uuid4() for _ in range(5)]

    async def work(tx: Transaction) -> None:
        for id, name in zip(ids, "abcde", strict=True):
            values = {"id": id, "namespace": "default", "task_id": task, "name": name, "sent_by": "", "sent_at": now}
            await tx.run(insert(signals).values(**values, payload={"of": name}))
        for names in (["a"], ["b", "c"], [], ["e", "d", "a"]):
            named = select(signals.c.name, signals.c.payload).where(signals.c.name.in_(names))
            rows = await tx.run(named.where(signals.c.task_id == task).order_by(signals.c.name))
            assert rows == [{"name": name, "payload": {"of": name}} for name in sorted(names)]
        for count in (1, 3, 2):
            assert len(await tx.run(select(signals.c.id).where(signals.c.task_id == task).limit(count))) == count
        for id, taken in ((ids[0], "1/tool/1"), (ids[1], None), (ids[2], "3/tool/1")):
            await tx.run(update(signals).where(signals.c.id == id).values(taken_by=taken))
            assert await tx.run(select(signals.c.taken_by).where(signals.c.id == id)) == [{"taken_by": taken}]

    await backend.transact(work)
