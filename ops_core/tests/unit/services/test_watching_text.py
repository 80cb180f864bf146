"""Watching a task whose model is writing, over a bus that loses, doubles and shuffles what it carries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from ops_core.domain.caller import Caller
from ops_core.domain.event import Event, EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Completed
from ops_core.domain.task import Task, TaskUsage
from ops_core.domain.text import TextDelta
from ops_core.ports import Lease, Nudge, NudgeKind
from ops_core.services.tasks import Submission, TaskService
from ops_core.tests.fakes import FakeNudges, FakeStore

DONE = Completed(result="4", usage=TaskUsage(steps=1))
WHOLE = "The answer is 391, and here is how I found it."


class Reader:
    """Reads a watch in the background."""

    def __init__(self, items: AsyncGenerator[Event | TextDelta, None]) -> None:
        self.events: list[Event] = []
        self.deltas: list[TextDelta] = []
        self._reading = asyncio.create_task(self._read(items))

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    async def _read(self, items: AsyncGenerator[Event | TextDelta, None]) -> None:
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Event):
                    self.events.append(item)
                else:
                    self.deltas.append(item)

    async def end(self) -> None:
        await asyncio.wait_for(self._reading, 10)

    async def leave(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])


@pytest.fixture
async def task(service: TaskService, caller: Caller, store: FakeStore) -> Task:
    """A running task that streams."""
    submitted = await service.submit(caller, Submission(agent="assistant", goal="x", stream=True))
    return await store.run(submitted.task.id)


async def until(condition: Callable[[], Any], *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def delta(offset: int, text: str, *, epoch: int = 1, step_key: str = "1/llm") -> TextDelta:
    return TextDelta(step_key=step_key, epoch=epoch, offset=offset, text=text)


def nudge(task: Task, piece: TextDelta) -> Nudge:
    return Nudge(NudgeKind.text, task.id, delta=piece)


def pieces_of(text: str, *, epoch: int = 1) -> list[TextDelta]:
    return [delta(start, text[start : start + 3], epoch=epoch) for start in range(0, len(text), 3)]


async def finish(store: FakeStore, task: Task, *, text: str = WHOLE) -> None:
    payload = {"message": {"role": "assistant", "text": text}}
    done = NewEvent(type=EventType.llm_completed, payload=payload, step_key="1/llm", phase=StepPhase.result)
    await store.append(Lease(task.id, task.epoch), done)
    await store.finish(Lease(task.id, task.epoch), DONE)


async def begun(service: TaskService, caller: Caller, task: Task, store: FakeStore, *, after: int = 0) -> Reader:
    reads = store.text_reads
    reader = Reader(service.watch(caller, task.id, after_seq=after))
    await until(lambda: store.text_reads > reads)
    return reader


async def test_text_is_given_as_it_is_told_and_the_step_as_one_event(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    for piece in pieces_of(WHOLE):
        nudges.send([nudge(task, piece)])
    await until(lambda: reader.text == WHOLE)
    await finish(store, task)
    await reader.end()

    assert [event.seq for event in reader.events] == [1, 2, 3, 4]
    assert reader.text == WHOLE


async def test_text_that_comes_along_with_the_news_of_its_end_is_given_before_the_event(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    nudges.send([Nudge(NudgeKind.event, task.id), *(nudge(task, piece) for piece in pieces_of(WHOLE))])
    await finish(store, task)
    await reader.end()

    assert reader.text == WHOLE


async def test_text_costs_no_read_of_the_database(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    reads = store.reads + store.event_reads + store.text_reads
    for piece in pieces_of(WHOLE):
        nudges.send([nudge(task, piece)])
        await asyncio.sleep(0)
    await until(lambda: reader.text == WHOLE)

    assert store.reads + store.event_reads + store.text_reads == reads
    await reader.leave()


async def test_who_comes_late_gets_the_text_so_far_first(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    store.texts[task.id] = [delta(0, WHOLE[:20])]
    reader = await begun(service, caller, task, store, after=2)
    await until(lambda: reader.text == WHOLE[:20])
    nudges.send([nudge(task, delta(18, WHOLE[18:30]))])
    await until(lambda: reader.text == WHOLE[:30])

    assert reader.events == []
    await reader.leave()


async def test_a_piece_that_was_lost_is_read_from_the_store(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    nudges.send([nudge(task, delta(0, WHOLE[:5])), nudge(task, delta(10, WHOLE[10:15]))])
    await until(lambda: reader.text == WHOLE[:5])
    store.texts[task.id] = [delta(0, WHOLE[:12])]

    await until(lambda: reader.text == WHOLE[:15])
    await reader.leave()


async def test_the_last_piece_that_was_lost_is_found_at_the_next_look(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    store.texts[task.id] = [delta(0, WHOLE)]
    nudges.silent = True

    await until(lambda: reader.text == WHOLE)
    await reader.leave()


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_bus_does_each_character_is_given_once_and_in_order(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges, seed: int
) -> None:
    rng = random.Random(seed)
    carried = [piece for piece in pieces_of(WHOLE) for _ in range(rng.choice([0, 1, 1, 2]))]
    for place in range(len(carried) - 1):
        if rng.random() < 0.3:
            carried[place], carried[place + 1] = carried[place + 1], carried[place]
    reader = await begun(service, caller, task, store)
    for number, piece in enumerate(carried):
        nudges.send([nudge(task, piece)])
        if number % 4 == 0:
            store.texts[task.id] = [delta(0, WHOLE[: piece.offset])]
            await asyncio.sleep(0.001)
    store.texts[task.id] = [delta(0, WHOLE)]

    await until(lambda: reader.text == WHOLE)
    assert [one.offset for one in reader.deltas] == [
        len("".join(before.text for before in reader.deltas[:n])) for n in range(len(reader.deltas))
    ]
    await finish(store, task)
    await reader.end()
    assert [event.seq for event in reader.events] == [1, 2, 3, 4]


async def test_a_claim_after_a_crash_begins_the_text_anew(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    nudges.send([nudge(task, delta(0, "Half of it"))])
    await until(lambda: reader.text == "Half of it")
    nudges.send([nudge(task, delta(0, "Anew", epoch=2)), nudge(task, delta(10, "of the dead"))])
    await until(lambda: reader.text == "Half of itAnew")

    assert (reader.deltas[-1].epoch, reader.deltas[-1].offset) == (2, 0)
    await reader.leave()


async def test_text_that_arrives_after_its_step_was_recorded_is_not_given(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    reader = await begun(service, caller, task, store)
    done = NewEvent(type=EventType.llm_completed, payload={}, step_key="1/llm", phase=StepPhase.result)
    await store.append(Lease(task.id, task.epoch), done)
    await until(lambda: len(reader.events) == 3)
    nudges.send([nudge(task, delta(0, "too late")), nudge(task, delta(0, "next", step_key="2/llm"))])
    await until(lambda: reader.deltas)

    assert reader.text == "next"
    await reader.leave()


async def test_a_task_that_does_not_stream_is_never_asked_for_text(
    service: TaskService, caller: Caller, store: FakeStore, nudges: FakeNudges
) -> None:
    submitted = await service.submit(caller, Submission(agent="assistant", goal="x"))
    task = await store.run(submitted.task.id)
    reader = Reader(service.watch(caller, task.id, after_seq=0))
    await until(lambda: len(reader.events) == 2)
    nudges.send([nudge(task, delta(0, "x"))])
    await finish(store, task)
    await reader.end()

    assert (store.text_reads, reader.deltas) == (0, [])


async def test_who_only_waits_is_not_woken_by_text(
    service: TaskService, caller: Caller, task: Task, store: FakeStore, nudges: FakeNudges
) -> None:
    waiting = asyncio.create_task(service.wait(caller, task.id, timeout_seconds=20))
    await until(lambda: nudges.listeners == 1)
    reads = store.reads
    for piece in pieces_of(WHOLE):
        nudges.send([nudge(task, piece)])
        await asyncio.sleep(0.001)

    assert store.reads - reads <= 1
    await finish(store, task)
    await asyncio.wait_for(waiting, 10)
