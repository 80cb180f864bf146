"""Nudges: lossy, quick, from any thread, and over PostgreSQL from any process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ops_core.domain.text import LiveText, TextDelta
from ops_core.ports import Nudge, NudgeKind
from ops_core.storage.nudges import StartedNudgeBus, make_nudge_bus
from ops_core.storage.store import open_store
from ops_core.tests.contract.store_cases import new_task


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def reaches(sender: StartedNudgeBus, seen: list[Nudge]) -> None:
    """Wait until the listener hears the sender: the connections are made in the background."""
    ping = Nudge(NudgeKind.cancel, uuid4())

    def heard() -> bool:
        sender.send([ping])
        return ping in seen

    await until(heard)


async def test_a_nudge_reaches_listeners_of_its_process_until_they_leave(store_url: str) -> None:
    bus = make_nudge_bus(store_url)
    seen: list[Nudge] = []
    nudge = Nudge(NudgeKind.event, uuid4(), 3)
    bus.send([nudge])  # before the start: dropped
    await bus.start()
    end = bus.subscribe(seen.append)
    bus.send([nudge])
    await until(lambda: seen)
    thread = threading.Thread(target=bus.send, args=([nudge],))
    thread.start()
    await until(lambda: len(seen) == 2)
    thread.join()
    end()
    end()
    bus.send([nudge])
    await asyncio.sleep(0.05)
    assert seen == [nudge, nudge]
    await bus.aclose()
    bus.send([nudge])


@pytest.mark.services
async def test_nudges_cross_processes_packed_and_come_once(postgres_url: str) -> None:
    here, there = make_nudge_bus(postgres_url), make_nudge_bus(postgres_url)
    await here.start()
    await there.start()
    seen: list[Nudge] = []
    there.subscribe(seen.append)
    await reaches(here, seen)
    seen.clear()
    many = [Nudge(NudgeKind.event, uuid4(), n) for n in range(1000)]
    here.send(many)
    await until(lambda: len([n for n in seen if n.kind is NudgeKind.event]) == 1000)
    assert {n for n in seen if n.kind is NudgeKind.event} == set(many)
    await here.aclose()
    await there.aclose()


@pytest.mark.services
async def test_events_are_told_while_somebody_watches_and_those_of_the_last_moment_when_he_begins(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops_core.storage.postgres.nudges._WATCHED_SECONDS", 0.3)
    monkeypatch.setattr("ops_core.storage.postgres.nudges._SAY_WATCHED_SECONDS", 0.1)
    here, there = make_nudge_bus(postgres_url), make_nudge_bus(postgres_url)
    await here.start()
    await there.start()
    seen: list[Nudge] = []
    there.subscribe(seen.append, [NudgeKind.cancel])
    await reaches(here, seen)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as outside:
        await outside.execute("LISTEN ops_core_nudges_event")
        # Until it is sure that nobody watches, all are told.
        await asyncio.sleep(0.5)
        kept, told = Nudge(NudgeKind.event, uuid4(), 1), Nudge(NudgeKind.event, uuid4(), 2)
        here.send([kept])
        assert [n async for n in outside.notifies(timeout=0.2)] == []
        end = there.subscribe(seen.append, [NudgeKind.event])
        await until(lambda: kept in seen)
        # For longer than one word of it holds.
        await asyncio.sleep(0.5)
        here.send([told])
        await until(lambda: told in seen)
        end()
        await asyncio.sleep(0.5)
        assert [n async for n in outside.notifies(timeout=0.01)]
        here.send([Nudge(NudgeKind.event, uuid4(), 3)])
        assert [n async for n in outside.notifies(timeout=0.2)] == []
    await here.aclose()
    await there.aclose()


@pytest.mark.services
async def test_the_bus_comes_back_after_its_connections_were_killed(postgres_url: str) -> None:
    here, there = make_nudge_bus(postgres_url), make_nudge_bus(postgres_url)
    await here.start()
    await there.start()
    seen: list[Nudge] = []
    there.subscribe(seen.append)
    await reaches(here, seen)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'ops-core nudges'"
        )
    await reaches(here, seen)
    await here.aclose()
    await there.aclose()


@pytest.mark.services
async def test_a_write_of_one_process_nudges_another(postgres_url: str) -> None:
    here, there = make_nudge_bus(postgres_url), make_nudge_bus(postgres_url)
    await here.start()
    await there.start()
    seen: list[Nudge] = []
    there.subscribe(seen.append)
    await reaches(here, seen)
    store = await open_store(postgres_url, nudges=here)
    task = (await store.add_task(new_task())).task
    await until(lambda: Nudge(NudgeKind.event, task.id, 1) in seen)
    await store.aclose()
    await here.aclose()
    await there.aclose()


async def test_sending_never_fails_when_the_database_is_away() -> None:
    bus = make_nudge_bus("postgresql://u:p@127.0.0.1:1/d")
    await bus.start()
    seen: list[Nudge] = []
    bus.subscribe(seen.append)
    for _ in range(20_000):
        bus.send([Nudge(NudgeKind.event, uuid4(), 1)])
    await until(lambda: len(seen) == 20_000)
    await bus.aclose()


@pytest.mark.services
async def test_text_crosses_processes_whole_and_in_order_however_long_it_is(postgres_url: str) -> None:
    here, there = make_nudge_bus(postgres_url), make_nudge_bus(postgres_url)
    await here.start()
    await there.start()
    seen: list[Nudge] = []
    there.subscribe(seen.append)
    await reaches(here, seen)
    seen.clear()
    task_id = uuid4()
    texts = ["Hé: 1 ", "\x00\u2028 👩‍🚀", "x", "汉" * 5_000, "🦊" * 3_000, " end"]
    offset = 0
    for text in texts:
        piece = TextDelta(step_key="1/llm: ü", epoch=3, offset=offset, text=text)
        here.send([Nudge(NudgeKind.text, task_id, delta=piece), Nudge(NudgeKind.event, task_id, 7)])
        offset += len(text)

    def told() -> list[TextDelta]:
        return [nudge.delta for nudge in seen if nudge.delta is not None and nudge.task_id == task_id]

    await until(lambda: sum(len(piece.text) for piece in told()) == offset)
    live = LiveText()
    assert "".join(new.text for new in live.add(told())) == "".join(texts)
    assert {(piece.step_key, piece.epoch) for piece in told()} == {("1/llm: ü", 3)}
    await here.aclose()
    await there.aclose()
