"""Bells of those who wait for tasks: rung at a nudge, and at the next look if it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from ops_core.domain.caller import Caller
from ops_core.domain.event import Event
from ops_core.domain.task import Task
from ops_core.domain.text import LiveText, TextDelta
from ops_core.ports import Glance, Nudge, NudgeKind
from ops_core.services.tasks import Submission, TaskService
from ops_core.services.watch import TaskWatch
from ops_core.tests.fakes import FakeNudges, FakeStore

SOON_SECONDS = 10.0


class FaultyStore(FakeStore):
    async def glance(self, task_ids: Sequence[UUID]) -> Mapping[UUID, Glance]:
        raise RuntimeError


@pytest.fixture
def watch(nudges: FakeNudges, store: FakeStore) -> TaskWatch:
    return TaskWatch(nudges, store)


@pytest.fixture
async def task(service: TaskService, caller: Caller) -> Task:
    return (await service.submit(caller, Submission(agent="assistant", goal="x", stream=True))).task


def told_of(task: Task, seq: int = 0) -> Nudge:
    return Nudge(NudgeKind.event, task.id, seq)


def piece(text: str, *, epoch: int = 1) -> TextDelta:
    return TextDelta(step_key="1/llm", epoch=epoch, offset=0, text=text)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


def loops() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "task-watch"]


class TestNudges:
    async def test_one_of_what_the_reader_does_not_know_rings(
        self, watch: TaskWatch, nudges: FakeNudges, task: Task
    ) -> None:
        with watch.listen(task.id) as bell:
            bell.known_seq = 1
            nudges.send([told_of(task, 2)])
            assert await bell.wait(0)
            assert bell.take_news()
            assert not await bell.wait(0)

    async def test_one_of_what_the_reader_knows_does_not(
        self, watch: TaskWatch, nudges: FakeNudges, task: Task
    ) -> None:
        with watch.listen(task.id) as bell:
            nudges.send([told_of(task, 2)])
            bell.known_seq = 2
            nudges.send([told_of(task, 1), told_of(task, 2)])
            assert not await bell.wait(0)

    async def test_one_without_a_number_always_rings(self, watch: TaskWatch, nudges: FakeNudges, task: Task) -> None:
        with watch.listen(task.id) as bell:
            bell.known_seq = 2
            nudges.send([told_of(task)])
            assert await bell.wait(0)

    async def test_one_that_comes_while_the_reader_looks_is_not_lost(
        self, watch: TaskWatch, nudges: FakeNudges, task: Task
    ) -> None:
        with watch.listen(task.id) as bell:
            nudges.send([told_of(task, 2)])
            bell.take_news()
            nudges.send([told_of(task, 3)])
            bell.known_seq = 2
            assert await bell.wait(0)

    async def test_one_of_what_was_never_written_rings_once(
        self, watch: TaskWatch, nudges: FakeNudges, task: Task
    ) -> None:
        with watch.listen(task.id) as bell:
            nudges.send([told_of(task, 9)])
            assert bell.take_news()
            bell.known_seq = 1
            assert not await bell.wait(0)


class TestLook:
    @pytest.mark.parametrize("looked", [True, False])
    async def test_makes_good_a_lost_nudge_and_nothing_else_does(
        self, watch: TaskWatch, store: FakeStore, nudges: FakeNudges, task: Task, looked: bool
    ) -> None:
        nudges.silent = True
        with watch.listen(task.id) as bell:
            bell.known_seq = task.seq
            await store.run(task.id)
            if looked:
                await watch.look([task.id])
            assert await bell.wait(0) is looked

    async def test_does_not_ring_when_there_is_nothing_new(
        self, watch: TaskWatch, store: FakeStore, task: Task
    ) -> None:
        with watch.listen(task.id) as bell:
            bell.known_seq = task.seq
            await watch.look([task.id])
            assert not await bell.wait(0)

    async def test_rings_for_a_task_that_is_gone(self, watch: TaskWatch) -> None:
        gone = uuid4()
        with watch.listen(gone) as bell:
            bell.known_seq = 7
            await watch.look([gone])
            assert await bell.wait(0)

    async def test_lets_the_readers_find_out_that_the_database_is_away(
        self, watch: TaskWatch, store: FakeStore, task: Task
    ) -> None:
        with watch.listen(task.id) as bell, capture_logs() as logs:
            bell.known_seq = task.seq
            store.away = True
            await watch.look([task.id])
            assert bell.take_news()
            assert logs == []

    async def test_says_that_it_has_a_fault_and_lets_the_readers_look(self, nudges: FakeNudges, task: Task) -> None:
        watch = TaskWatch(nudges, FaultyStore())
        with watch.listen(task.id) as bell, capture_logs() as logs:
            bell.known_seq = task.seq
            await watch.look([task.id])
            assert bell.take_news()
            assert [line["event"] for line in logs] == ["watch.failed"]


class TestText:
    @pytest.fixture
    async def running(self, store: FakeStore, task: Task) -> Task:
        store.texts[task.id] = [piece("so far")]
        return await store.run(task.id)

    async def test_that_was_told_to_nobody_is_told_at_the_next_look(self, watch: TaskWatch, running: Task) -> None:
        with watch.listen(running.id) as bell:
            bell.lacks = LiveText().lacks
            await watch.look([running.id])
            assert await bell.wait(0)
            assert bell.take_texts() == [piece("so far")]

    async def test_that_its_reader_has_does_not_wake_him(self, watch: TaskWatch, running: Task) -> None:
        live = LiveText()
        list(live.add([piece("so far")]))
        with watch.listen(running.id) as bell:
            bell.known_seq, bell.lacks = running.seq, live.lacks
            await watch.look([running.id])
            assert not await bell.wait(0)

    async def test_is_not_read_while_it_is_being_told(
        self, watch: TaskWatch, store: FakeStore, nudges: FakeNudges, running: Task
    ) -> None:
        with watch.listen(running.id) as bell:
            bell.lacks = LiveText().lacks
            nudges.send([Nudge(NudgeKind.text, running.id, delta=piece("so"))])
            bell.take_texts()
            await watch.look([running.id])
            assert store.text_reads == 0
            await watch.look([running.id])
            assert bell.take_texts() == [piece("so far")]

    async def test_is_not_heaped_up_for_a_reader_who_does_not_take_it(
        self, watch: TaskWatch, store: FakeStore, running: Task
    ) -> None:
        with watch.listen(running.id) as bell:
            bell.lacks = LiveText().lacks
            await watch.look([running.id])
            await watch.look([running.id])
            assert store.text_reads == 1
            assert len(bell.take_texts()) == 1

    async def test_is_not_read_for_who_wants_none(self, watch: TaskWatch, store: FakeStore, running: Task) -> None:
        with watch.listen(running.id) as bell:
            await watch.look([running.id])
            assert (store.text_reads, bell.take_texts()) == (0, [])


class TestLoop:
    async def test_one_look_is_for_all_the_readers_and_they_do_not_read(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        tasks = [(await service.submit(caller, Submission(agent="assistant", goal="x"))).task for _ in range(50)]
        readers = [asyncio.create_task(_read(service.watch(caller, one.id, after_seq=0))) for one in [*tasks, *tasks]]
        await until(lambda: store.event_reads == 100)
        reads = store.reads
        await until(lambda: len(store.glances) == 2)

        assert [sorted(ids) for ids in store.glances] == [sorted(one.id for one in tasks)] * 2
        assert (store.reads, store.event_reads) == (reads, 100)
        await _leave(readers)

    async def test_a_crowd_is_looked_at_in_parts(self, watch: TaskWatch, store: FakeStore) -> None:
        ids = {uuid4() for _ in range(450)}
        with ExitStack() as listening:
            for id in ids:
                listening.enter_context(watch.listen(id))
            await until(lambda: len(store.glances) == 3)

        assert [len(part) for part in store.glances] == [200, 200, 50]
        assert {id for part in store.glances for id in part} == ids

    async def test_it_goes_on_while_the_database_is_away(self, watch: TaskWatch, store: FakeStore, task: Task) -> None:
        with watch.listen(task.id) as bell:
            store.away = True
            async with asyncio.timeout(SOON_SECONDS):
                await bell.wait()
            store.away = False
            await until(lambda: store.glances)

    async def test_there_is_none_when_nobody_listens(self, watch: TaskWatch, nudges: FakeNudges, task: Task) -> None:
        for _ in range(2):
            with watch.listen(task.id), watch.listen(task.id), watch.listen(uuid4()):
                (loop,) = loops()
            async with asyncio.timeout(SOON_SECONDS):
                await asyncio.wait([loop])
            assert loop.cancelled()
            assert (loops(), nudges.listeners) == ([], 0)

    async def test_there_is_none_when_all_readers_have_left_the_service(
        self, service: TaskService, store: FakeStore, caller: Caller, task: Task
    ) -> None:
        readers = [asyncio.create_task(_read(service.watch(caller, task.id, after_seq=0))) for _ in range(3)]
        await until(lambda: store.event_reads == 3)
        assert len(loops()) == 1
        await _leave(readers)
        await until(lambda: not loops())


async def _read(items: AsyncGenerator[Event | TextDelta, None]) -> None:
    async with aclosing(items):
        async for _ in items:
            pass


async def _leave(readers: Sequence[asyncio.Task[None]]) -> None:
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
