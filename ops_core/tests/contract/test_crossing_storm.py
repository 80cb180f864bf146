"""Everything that locks tasks in one storm on PostgreSQL: families, keys, votes, signals, lapses and pruning."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from ops_core.domain.approval import Decision
from ops_core.domain.outcome import Completed, Outcome, Suspended
from ops_core.domain.task import Task
from ops_core.domain.wait import ChildWait, Wait
from ops_core.errors import ApprovalDecided, ApprovalExpired, RunLost
from ops_core.ports import ApprovalQuery, Retention
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, uuid7
from ops_core.tests.contract.test_keys_storm import LIMITS, SEED, Storm
from ops_core.tests.contract.wait_cases import approval, signal, timer, vote

_DEADLOCKS = "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
_ORPHANED = text("""
SELECT count(*) AS found FROM tasks p WHERE p.status = 'waiting' AND p.waiting_for = 'children' AND NOT EXISTS (
    SELECT 1 FROM tasks c WHERE c.parent_id = p.id AND c.status NOT IN ('completed', 'failed', 'canceled', 'rejected'))
""")
_PRUNE_AT_ONCE = Retention(completed_seconds=0.2, unhappy_seconds=0.2)


class CrossingStorm(Storm):
    """Tasks have families too, and people are asked about them."""

    def __init__(self, stores: list[Store], rng: random.Random) -> None:
        super().__init__(stores, rng)
        self.pruned = self.voted = self.families = 0
        self._acts |= {self.decide: 12, self.prune: 6}

    async def end(self) -> None:
        if self.running:
            await self.finish(self.running.pop(self.rng.randrange(len(self.running))), self._outcome())

    def _outcome(self) -> Outcome:
        place = f"{uuid7()}"
        waits: list[Wait] = [
            approval(f"{place}/approval", timeout_seconds=self.rng.choice([0.03, 5]), required=self.rng.choice([1, 2])),
            signal(f"{place}/signal/1", "go", 0.1),
            timer(0.02, f"{place}/timer/1"),
        ]
        chance = self.rng.random()
        if chance < 0.3:
            return Completed(result=1, usage=USAGE)
        if chance < 0.6:
            self.families += 1
            return Suspended(waits=tuple(self._child(place, n) for n in range(3)), usage=USAGE)
        return Suspended(waits=tuple(self.rng.sample(waits, self.rng.randrange(1, 3))), usage=USAGE)

    def _child(self, place: str, number: int) -> ChildWait:
        key = self.rng.choice([*LIMITS, None])
        keys: dict[str, Any] = {"concurrency_key": key, "concurrency_limit": LIMITS.get(key or "")}
        return ChildWait(key=f"{place}/child/{number}", child=new_task(depth=1, **keys))

    async def finish(self, task: Task, outcome: Outcome) -> None:
        await self.store.finish(lease(task), outcome, parent_id=task.parent_id)

    async def decide(self) -> None:
        found = await self.store.list_approvals(ApprovalQuery(namespace="default", limit=20))
        if found:
            one = self.rng.choice(found)
            said = vote(self.rng.choice(["ada", "bob"]), self.rng.choice([Decision.approve, Decision.reject]))
            try:
                await self.store.vote("default", one.id, said, check=lambda _: None)
            except (ApprovalDecided, ApprovalExpired):
                return
            self.voted += 1

    async def prune(self) -> None:
        after: UUID | None = None
        while True:
            pruned = await self.store.prune_tasks(policy=_PRUNE_AT_ONCE, after=after, limit=50)
            self.pruned, after = self.pruned + pruned.tasks, pruned.after
            if after is None:
                return

    async def finish_all(self) -> None:
        give_up_at = asyncio.get_running_loop().time() + 120
        while await self.left() and asyncio.get_running_loop().time() < give_up_at:
            for task in [*self.running, *await claim(self.store, limit=50, lease_seconds=60)]:
                try:
                    await self.finish(task, Completed(result=1, usage=USAGE))
                except RunLost:
                    continue
            self.running = []
            await self.keep_house()


@pytest.mark.services
@pytest.mark.timeout(300)
async def test_whatever_crosses_nobody_waits_in_a_circle_and_nobody_is_left(postgres_url: str) -> None:
    stores = [await open_store(postgres_url) for _ in range(3)]
    storm = CrossingStorm(stores, random.Random(SEED))
    await asyncio.gather(*(storm.play(80) for _ in range(10)))
    await storm.finish_all()
    left = await storm.left()
    (orphaned,) = await stores[0]._reader.rows(_ORPHANED)
    for store in stores:
        await store.aclose()
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        row: Any = await (await connection.execute(_DEADLOCKS.encode())).fetchone()
    assert (storm.worst, left, orphaned["found"], row[1]) == ([], [], 0, 0), f"seed {SEED}"
    assert min(storm.families, storm.voted, storm.pruned) > 5, (storm.families, storm.voted, storm.pruned)
