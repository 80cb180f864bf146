"""What a run tells of its model's text: soon, not too often, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from agentkit.hooks import FinishedStep
from agentkit.journal import StepKind
from ops_core.errors import StoreUnavailable
from ops_core.ports import Lease, NudgeKind
from ops_core.runner import live_text
from ops_core.runner.live_text import LiveTextHooks
from ops_core.tests.fakes import FakeNudges


def done(key: str, kind: StepKind = StepKind.llm, *, replayed: bool = False, is_last: bool = False) -> FinishedStep:
    return FinishedStep(key=key, kind=kind, name="m", seconds=1.0, replayed=replayed, is_error=False, is_last=is_last)


class FakeTexts:
    """Keeps what is saved, and in which order; `away` counts down the writes that find no database."""

    def __init__(self) -> None:
        self.saved: dict[str, str] = {}
        self.writes: list[tuple[str, str | None]] = []
        self.away = 0

    async def save_text(self, lease: Lease, step_key: str, text: str) -> None:
        await self._answer()
        self.writes.append(("save", text))
        self.saved[step_key] = text

    async def forget_text(self, lease: Lease, step_key: str | None = None) -> None:
        await self._answer()
        self.writes.append(("forget", step_key))
        for key in list(self.saved) if step_key is None else [step_key]:
            self.saved.pop(key, None)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the database is away")


@pytest.fixture
def nudges() -> FakeNudges:
    return FakeNudges()


@pytest.fixture
def texts() -> FakeTexts:
    return FakeTexts()


@pytest.fixture
def hooks(nudges: FakeNudges, texts: FakeTexts) -> LiveTextHooks:
    return LiveTextHooks(Lease(uuid4(), 1), nudges=nudges, texts=texts)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def finish(hooks: LiveTextHooks, key: str) -> None:
    hooks.step_finished(done(key))


def sent(nudges: FakeNudges) -> list[tuple[str, int, str]]:
    deltas = [nudge.delta for nudge in nudges.sent if nudge.kind is NudgeKind.text]
    return [(delta.step_key, delta.offset, delta.text) for delta in deltas if delta is not None]


async def until_sent(nudges: FakeNudges, pieces: int) -> None:
    await until(lambda: len(sent(nudges)) == pieces)


def was_saved(texts: FakeTexts, times: int) -> bool:
    return len(texts.writes) == times


async def test_the_first_piece_is_sent_at_once_and_those_close_behind_it_as_one(
    hooks: LiveTextHooks, nudges: FakeNudges
) -> None:
    hooks.text_received("1/llm", "a")
    for _ in range(3):
        await asyncio.sleep(0)
    assert sent(nudges) == [("1/llm", 0, "a")]

    for text in "bcd":
        hooks.text_received("1/llm", text)
    await until(lambda: len(sent(nudges)) == 2)

    assert sent(nudges) == [("1/llm", 0, "a"), ("1/llm", 0, "abcd")]
    await hooks.aclose()


async def test_a_piece_repeats_what_one_who_reads_the_last_save_but_one_has_not(
    hooks: LiveTextHooks, nudges: FakeNudges, texts: FakeTexts
) -> None:
    for number, text in enumerate(("first ", "second ", "third "), start=1):
        hooks.text_received("1/llm", text)
        await until_sent(nudges, number)
        await until(partial(was_saved, texts, number))
    hooks.text_received("1/llm", "fourth")
    await until(lambda: len(sent(nudges)) == 4)

    assert sent(nudges) == [
        *(("1/llm", 0, "first "), ("1/llm", 0, "first second "), ("1/llm", 6, "second third ")),
        ("1/llm", 13, "third fourth"),
    ]
    await hooks.aclose()


async def test_what_is_repeated_has_a_bound_when_nothing_can_be_saved(
    hooks: LiveTextHooks, nudges: FakeNudges, texts: FakeTexts
) -> None:
    texts.away = 1_000_000
    for number in range(1, 4):
        hooks.text_received("1/llm", "x" * live_text.REPEATED_CHARACTERS)
        await until_sent(nudges, number)

    bound = live_text.REPEATED_CHARACTERS
    assert [(offset, len(text)) for _, offset, text in sent(nudges)] == [(0, bound), (0, 2 * bound), (bound, 2 * bound)]
    texts.away = 0
    await hooks.aclose()


async def test_the_last_of_a_text_is_sent_before_its_step_is_recorded(hooks: LiveTextHooks, nudges: FakeNudges) -> None:
    hooks.text_received("1/llm", "a")
    await until(lambda: sent(nudges))
    hooks.text_received("1/llm", "b")
    hooks.text_ended("1/llm")
    assert sent(nudges) == [("1/llm", 0, "a"), ("1/llm", 0, "ab")]

    hooks.text_ended("1/llm")
    finish(hooks, "1/llm")
    await hooks.aclose()
    assert len(sent(nudges)) == 2


async def test_steps_that_write_at_once_are_told_apart(hooks: LiveTextHooks, nudges: FakeNudges) -> None:
    hooks.text_received("1/llm", "a")
    hooks.text_received("2/llm", "b")
    await until(lambda: len(sent(nudges)) == 2)

    assert sent(nudges) == [("1/llm", 0, "a"), ("2/llm", 0, "b")]
    await hooks.aclose()


async def test_the_text_so_far_is_saved_now_and_then(hooks: LiveTextHooks, texts: FakeTexts) -> None:
    began = time.monotonic()
    for _ in range(40):
        hooks.text_received("1/llm", "x")
        await asyncio.sleep(0.015)
    await until(lambda: texts.saved.get("1/llm") == "x" * 40)

    assert 2 <= len(texts.writes) <= (time.monotonic() - began) / live_text.SAVE_SECONDS + 1
    await hooks.aclose()


async def test_a_step_that_is_done_quickly_is_never_saved(hooks: LiveTextHooks, texts: FakeTexts) -> None:
    hooks.text_received("1/llm", "quick")
    finish(hooks, "1/llm")
    await hooks.aclose()

    assert texts.writes == []


async def test_the_saved_text_of_a_finished_step_is_deleted(hooks: LiveTextHooks, texts: FakeTexts) -> None:
    hooks.text_received("1/llm", "a")
    await until(lambda: texts.saved)
    finish(hooks, "1/llm")
    await until(lambda: not texts.saved)
    await hooks.aclose()


async def test_nothing_is_left_when_the_run_ends_in_the_middle_of_a_step(
    hooks: LiveTextHooks, texts: FakeTexts
) -> None:
    hooks.text_received("1/llm", "a")
    await until(lambda: texts.saved)
    hooks.text_received("1/llm", "b")
    await hooks.aclose()

    assert texts.saved == {}
    await asyncio.sleep(live_text.SAVE_SECONDS + 0.05)
    assert texts.saved == {}


async def test_a_later_claim_deletes_what_an_earlier_one_left(nudges: FakeNudges, texts: FakeTexts) -> None:
    texts.saved["1/llm"] = "of a worker that died"
    hooks = LiveTextHooks(Lease(uuid4(), 2), nudges=nudges, texts=texts)

    await hooks.aclose()

    assert texts.saved == {}


async def test_a_database_that_is_away_costs_neither_the_run_nor_the_live_text(
    hooks: LiveTextHooks, nudges: FakeNudges, texts: FakeTexts
) -> None:
    texts.away = 2
    hooks.text_received("1/llm", "a")
    await until(lambda: texts.saved)

    assert texts.away == 0
    assert texts.saved == {"1/llm": "a"}
    assert sent(nudges) == [("1/llm", 0, "a")]
    texts.away = 1
    await hooks.aclose()


async def test_tools_and_replayed_steps_are_none_of_its_business(
    hooks: LiveTextHooks, nudges: FakeNudges, texts: FakeTexts
) -> None:
    hooks.step_started("1/tool/1", StepKind.tool, "t")
    hooks.step_finished(done("1/tool/1", StepKind.tool))
    hooks.step_finished(done("1/llm", replayed=True))
    await hooks.aclose()

    assert (nudges.sent, texts.writes) == ([], [])


async def test_the_text_of_the_answer_that_ends_a_run_is_kept_until_the_end_is_written(
    hooks: LiveTextHooks, texts: FakeTexts
) -> None:
    hooks.text_received("1/llm", "a")
    await until(lambda: was_saved(texts, 1))
    hooks.step_finished(done("1/llm", is_last=True))
    assert hooks._saving is None or not hooks._finished
    await hooks.aclose()
    assert texts.writes[-1] == ("forget", None)
    assert [write for write in texts.writes if write[0] == "forget"] == [("forget", None)]
