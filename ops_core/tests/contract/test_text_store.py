"""The text of steps that are being written: on both databases, fenced by the epoch."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from ops_core.domain.outcome import Completed, HandedOver
from ops_core.domain.text import TextDelta
from ops_core.ports import Lease
from ops_core.storage.store import Store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, submit_and_claim


def delta(text: str, *, step_key: str = "1/llm", epoch: int = 1) -> TextDelta:
    return TextDelta(step_key=step_key, epoch=epoch, offset=0, text=text)


@pytest.mark.parametrize("text", ["Hello", "", "NUL \x00 and 👩‍🚀 and ' \\ %s :x\u2028", "x" * 200_000])
async def test_the_text_so_far_is_read_back_as_one_piece(store: Store, text: str) -> None:
    task = await submit_and_claim(store, stream=True)
    assert task.stream

    await store.save_text(lease(task), "1/llm", text[: len(text) // 2])
    await store.save_text(lease(task), "1/llm", text)
    await store.save_text(lease(task), "2/llm", "other")

    assert await store.list_text(task.id, epoch=task.epoch) == [delta(text), delta("other", step_key="2/llm")]
    assert await store.list_text(task.id, epoch=task.epoch + 1) == []


async def test_the_texts_of_many_tasks_are_read_at_once(store: Store) -> None:
    writing, other, silent, claimed_anew = [await submit_and_claim(store, stream=True) for _ in range(4)]
    for task in (writing, other, claimed_anew):
        await store.save_text(lease(task), "2/llm", "of the second step")
        await store.save_text(lease(task), "1/llm", f"of {task.id}")

    found = await store.list_texts({writing.id: 1, other.id: 1, silent.id: 1, claimed_anew.id: 2, uuid4(): 1})

    second = delta("of the second step", step_key="2/llm")
    assert found == {task.id: [delta(f"of {task.id}"), second] for task in (writing, other)}
    assert await store.list_texts({}) == {}


async def test_what_is_forgotten_is_gone(store: Store) -> None:
    task = await submit_and_claim(store, stream=True)
    for key in ("1/llm", "2/llm", "3/llm"):
        await store.save_text(lease(task), key, "x")

    await store.forget_text(lease(task), "1/llm")
    assert [one.step_key for one in await store.list_text(task.id, epoch=1)] == ["2/llm", "3/llm"]
    await store.forget_text(lease(task))
    await store.forget_text(lease(task))
    assert await store.list_text(task.id, epoch=1) == []


async def test_an_old_claim_can_neither_write_nor_delete(store: Store) -> None:
    task = await submit_and_claim(store, stream=True)
    await store.save_text(lease(task), "1/llm", "of the first claim")
    await store.finish(lease(task), HandedOver(usage=USAGE))
    await store.save_text(lease(task), "2/llm", "after its end")
    (again,) = await claim(store)
    assert await store.list_text(task.id, epoch=again.epoch) == []

    await store.save_text(lease(again), "1/llm", "of the second")
    await store.save_text(lease(task), "1/llm", "of a worker that was given up")
    await store.forget_text(lease(task), "1/llm")

    assert await store.list_text(task.id, epoch=again.epoch) == [delta("of the second", epoch=again.epoch)]
    assert await store.list_text(task.id, epoch=task.epoch) == []


async def test_a_claim_that_was_never_made_writes_nothing(store: Store) -> None:
    task = await submit_and_claim(store, stream=True)

    await store.save_text(Lease(task.id, task.epoch + 1), "1/llm", "x")

    assert await store.list_text(task.id, epoch=task.epoch + 1) == []


async def test_what_a_dead_worker_left_is_swept_once_its_task_does_not_run(store: Store) -> None:
    running, finished = await submit_and_claim(store, stream=True), await submit_and_claim(store, stream=True)
    for task in (running, finished):
        await store.save_text(lease(task), "1/llm", "x")
        await store.save_text(lease(task), "2/llm", "x")
    await store.finish(lease(finished), Completed(result=1, usage=USAGE))

    assert await store.forget_left_text(limit=1) == 1
    assert await store.forget_left_text(limit=10) == 1
    assert await store.forget_left_text(limit=10) == 0
    assert len(await store.list_text(running.id, epoch=1)) == 2
    assert await store.list_text(finished.id, epoch=1) == []


async def test_many_streams_are_saved_at_once(store: Store) -> None:
    tasks = [await submit_and_claim(store, stream=True) for _ in range(30)]

    await asyncio.gather(*(store.save_text(lease(task), "1/llm", f"text of {task.id}") for task in tasks))

    for task in tasks:
        assert await store.list_text(task.id, epoch=1) == [delta(f"text of {task.id}")]


async def test_a_task_streams_only_when_it_was_asked_to(store: Store) -> None:
    assert not (await submit_and_claim(store)).stream
