"""GroupCommit: who is committed with whom, and what each caller is told."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import pytest

from ops_core.errors import InvalidInput, OpsCoreError, RunLost, StoreUnavailable
from ops_core.storage.group_commit import GroupCommit
from ops_core.storage.writes import AnswerLost, TryAgain, WriteRefused


@dataclass
class Table:
    """A batch that keeps what it was given; the write waits until the gate is open."""

    key_of: dict[int, Hashable] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    #: Raised by the next writes, in order; True first: after the rows were written.
    troubles: list[tuple[bool, Exception]] = field(default_factory=list)
    batches: list[list[int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def key(self, item: int) -> Hashable:
        return self.key_of.get(item, item)

    async def write(self, items: Sequence[int]) -> Sequence[str | OpsCoreError]:
        await self.gate.wait()
        self.batches.append(list(items))
        if self.refused.intersection(items):
            raise WriteRefused("no such value")
        if self.broken.intersection(items):
            raise ZeroDivisionError
        after, trouble = self.troubles.pop(0) if self.troubles else (False, None)
        if trouble is not None and not after:
            raise trouble
        self.rows.extend(items)
        if trouble is not None:
            raise trouble
        return [RunLost("over") if item in self.lost else f"wrote {item}" for item in items]

    async def write_unless_written(self, items: Sequence[int]) -> Sequence[str | OpsCoreError]:
        await self.write([item for item in items if item not in self.rows])
        return [f"wrote {item}" for item in items]


async def test_what_gathers_while_a_commit_runs_is_committed_together() -> None:
    table = Table()
    commits = GroupCommit[int, str](table)
    table.gate.clear()
    first = asyncio.create_task(commits.write(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(commits.write(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    table.gate.set()
    assert await asyncio.gather(first, *others) == [f"wrote {n}" for n in range(6)]
    assert table.batches == [[0], [1, 2, 3, 4, 5]]


async def test_a_batch_has_no_key_twice_and_no_more_rows_than_allowed() -> None:
    table = Table(key_of={1: "a", 2: "a", 3: "b", 4: "a"})
    commits = GroupCommit[int, str](table, max_rows=3)
    await asyncio.gather(*(commits.write(n) for n in (1, 2, 3, 4, 5, 6)))
    assert table.batches == [[1, 3, 5], [2, 6], [4]]


async def test_a_refused_row_fails_only_its_caller() -> None:
    table = Table(refused={3})
    commits = GroupCommit[int, str](table)
    outcomes = await asyncio.gather(*(commits.write(n) for n in range(8)), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, InvalidInput)] == [3]
    assert sorted(table.rows) == [0, 1, 2, 4, 5, 6, 7]


async def test_each_caller_learns_of_its_own_row() -> None:
    commits = GroupCommit[int, str](Table(lost={1}))
    outcomes = await asyncio.gather(commits.write(0), commits.write(1), return_exceptions=True)
    assert outcomes[0] == "wrote 0"
    assert isinstance(outcomes[1], RunLost)


@pytest.mark.parametrize("written", [True, False])
async def test_after_a_lost_answer_each_write_is_there_once(written: bool) -> None:
    table = Table(troubles=[(written, AnswerLost("gone"))])
    commits = GroupCommit[int, str](table)
    assert list(await asyncio.gather(commits.write(1), commits.write(2))) == ["wrote 1", "wrote 2"]
    assert sorted(table.rows) == [1, 2]


async def test_a_passing_trouble_is_tried_again() -> None:
    table = Table(troubles=[(False, TryAgain("deadlock")), (False, StoreUnavailable("starting"))])
    assert await GroupCommit[int, str](table).write(1) == "wrote 1"


async def test_when_the_database_is_away_everybody_is_told_at_once() -> None:
    table = Table(troubles=[(False, StoreUnavailable("away")) for _ in range(100)])
    commits = GroupCommit[int, str](table, max_rows=2, give_up_seconds=0.1)
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(*(commits.write(n) for n in range(20)), return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    table.troubles.clear()
    assert await commits.write(1) == "wrote 1"


async def test_too_many_waiting_writes_are_refused_as_busy() -> None:
    table = Table()
    table.gate.clear()
    commits = GroupCommit[int, str](table, max_rows=1, max_waiting=2)
    waiting = [asyncio.create_task(commits.write(n)) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="busy"):
        await commits.write(9)
    table.gate.set()
    await asyncio.gather(*waiting)


async def test_a_cancelled_caller_does_not_undo_its_write_nor_disturb_others() -> None:
    table = Table()
    table.gate.clear()
    commits = GroupCommit[int, str](table)
    leaving, staying = asyncio.create_task(commits.write(1)), asyncio.create_task(commits.write(2))
    await asyncio.sleep(0)
    leaving.cancel()
    table.gate.set()
    assert await staying == "wrote 2"
    assert table.rows == [1, 2]


async def test_what_nobody_waits_for_is_left_out_where_that_is_wanted() -> None:
    table = Table()
    commits = GroupCommit[int, str](table, drop_cancelled=True)
    leaving, staying = asyncio.create_task(commits.write(1)), asyncio.create_task(commits.write(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == "wrote 2"
    assert table.rows == [2]


async def test_closing_commits_what_waits_and_takes_no_more() -> None:
    table = Table()
    commits = GroupCommit[int, str](table)
    writing = asyncio.create_task(commits.write(1))
    await asyncio.sleep(0)
    await commits.aclose()
    assert await writing == "wrote 1"
    with pytest.raises(StoreUnavailable, match="closed"):
        await commits.write(2)


async def test_a_programming_error_is_told_to_its_caller_and_stops_nobody_else() -> None:
    table = Table(broken={3})
    commits = GroupCommit[int, str](table)
    outcomes = await asyncio.gather(*(commits.write(n) for n in range(8)), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ZeroDivisionError)] == [3]
    assert sorted(table.rows) == [0, 1, 2, 4, 5, 6, 7]
    assert await commits.write(9) == "wrote 9"


async def test_one_refused_row_of_a_thousand_costs_twenty_commits_more() -> None:
    table = Table(refused={777})
    commits = GroupCommit[int, str](table, max_rows=1000)
    outcomes = await asyncio.gather(*(commits.write(n) for n in range(1000)), return_exceptions=True)
    assert sum(isinstance(outcome, InvalidInput) for outcome in outcomes) == 1
    assert len(table.batches) <= 1 + 2 * 10


async def test_when_the_database_goes_away_between_two_parts_all_of_them_are_told_at_once() -> None:
    troubles: list[tuple[bool, Exception]] = [(False, WriteRefused("a row"))]
    troubles += [(False, StoreUnavailable("away")) for _ in range(100)]
    commits = GroupCommit[int, str](Table(troubles=troubles), give_up_seconds=0.2)
    async with asyncio.timeout(0.6):
        outcomes = await asyncio.gather(*(commits.write(n) for n in range(64)), return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)


async def test_when_its_loop_ends_nobody_is_left_without_an_answer() -> None:
    table = Table()
    table.gate.clear()
    commits = GroupCommit[int, str](table, max_rows=1)
    writing = [asyncio.ensure_future(commits.write(n)) for n in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert commits._runner is not None
    commits._runner.cancel()
    begun, waiting = await asyncio.gather(*writing, return_exceptions=True)
    assert "may or may not" in str(begun)
    assert "before the write was begun" in str(waiting)


async def test_giving_up_after_a_lost_answer_says_that_the_write_may_be_there() -> None:
    table = Table(troubles=[(True, AnswerLost("gone")), *[(False, StoreUnavailable("away"))] * 50])
    with pytest.raises(StoreUnavailable, match="may or may not"):
        await GroupCommit[int, str](table, give_up_seconds=0.05).write(1)
    table = Table(troubles=[(False, StoreUnavailable("away"))] * 50)
    with pytest.raises(StoreUnavailable, match="did not take"):
        await GroupCommit[int, str](table, give_up_seconds=0.05).write(1)
