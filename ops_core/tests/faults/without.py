"""Remedies that a process can go without, so that the oracle is seen to find what they prevent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from importlib import import_module
from typing import Any


def ring_again() -> None:
    """The housekeeper rings for no task that nobody was told of."""
    from ops_core.services.housekeeper import Housekeeper

    Housekeeper._ring_again = _nothing  # type: ignore[method-assign]


def take_back() -> None:
    """The housekeeper takes nothing back from workers that are gone."""
    from ops_core.services.housekeeper import Housekeeper

    Housekeeper._take_back_expired = _nothing  # type: ignore[method-assign]


def claim_check() -> None:
    """A claim takes what others hold as well."""
    for name in ("postgres", "sqlite"):
        statements: Any = import_module(f"ops_core.storage.{name}.statements")
        checked, unchecked = "status = 'queued' AND queue", "status IN ('queued', 'running') AND queue"
        assert checked in statements._CLAIM_BEST
        statements._CLAIM_BEST = statements._CLAIM_BEST.replace(checked, unchecked)


def journal() -> None:
    """A run recalls nothing of what it did before."""
    from ops_core.runner.journal import TaskJournal

    TaskJournal.recall = lambda self, key: None  # type: ignore[method-assign]


def intent() -> None:
    """A tool with a side effect is called without writing that before."""
    from ops_core.runner.journal import TaskJournal

    async def silent(self: TaskJournal, intent: Any) -> None:
        """Nothing is written."""

    TaskJournal.intend = silent  # type: ignore[method-assign]


def fence() -> None:
    """A run that lost its lease does not notice, and the database does not refuse it."""
    from ops_core.storage.postgres import leases, statements
    from ops_core.worker.held import HeldRun
    from ops_core.worker.host import AgentHost

    fenced = "AND epoch = a.epoch AND (status = 'running') IS TRUE"
    assert fenced in statements._APPEND_IF_HELD
    statements._APPEND_IF_HELD = statements._APPEND_IF_HELD.replace(fenced, "")
    assert "AND epoch = h.epoch" in leases._RENEW_IF_HELD
    HeldRun.is_late = lambda self: False  # type: ignore[method-assign]
    AgentHost._on_renewed = lambda self, asked, renewal: None  # type: ignore[method-assign]


def early_acknowledgement() -> None:
    """A ticket is acknowledged when the run ends, not when it has begun."""
    from ops_core.worker.host import AgentHost

    take = AgentHost.take

    async def take_and_wait(self: AgentHost, ticket: Any, places: int) -> None:
        await take(self, ticket, places)
        if self._runs:
            await asyncio.wait(set(self._runs))

    AgentHost.take = take_and_wait  # type: ignore[method-assign]


def database_clock() -> None:
    """Leases are given by the clock of whoever takes them."""
    from ops_core.storage.postgres import leases, statements

    by_database = "now() + make_interval(secs => %s::float8)"
    claim, renew = statements._CLAIM_BEST, leases._RENEW_IF_HELD
    assert by_database in claim
    assert by_database in renew

    def by_own(statement: str) -> str:
        return statement.replace(by_database, f"to_timestamp({time.time()}) + make_interval(secs => %s::float8)")

    claim_best = statements.PostgresTransaction.claim_best
    renew_all = leases.PostgresLeaseStore.renew

    async def claim_by_own(self: Any, ask: Any) -> Any:
        statements._CLAIM_BEST = by_own(claim)
        return await claim_best(self, ask)

    def renew_by_own(self: Any, held: Any, **options: Any) -> Any:
        leases._RENEW_IF_HELD = by_own(renew)
        return renew_all(self, held, **options)

    statements.PostgresTransaction.claim_best = claim_by_own  # type: ignore[method-assign]
    leases.PostgresLeaseStore.renew = renew_by_own  # type: ignore[method-assign]


def hand_over() -> None:
    """A worker that is told to stop abandons what it runs."""
    from ops_core.worker.host import AgentHost

    async def leave(self: AgentHost) -> None:
        self.stop_taking()

    AgentHost.drain = leave  # type: ignore[method-assign]


def resumption() -> None:
    """A stream begins with what happens next, wherever its reader left off."""
    from ops_core.services.tasks import TaskService

    watch = TaskService.watch

    async def from_now_on(self: TaskService, caller: Any, task_id: Any, *, after_seq: int = 0) -> AsyncGenerator[Any]:
        task = await self.get(caller, task_id)
        async for event in watch(self, caller, task_id, after_seq=task.seq if after_seq else 0):
            yield event

    TaskService.watch = from_now_on  # type: ignore[method-assign]


def vote_lock() -> None:
    """A vote locks nothing, and takes its time between looking and writing."""
    from sqlalchemy import select

    from ops_core.storage import approvals
    from ops_core.storage.approval_rows import approvals_from
    from ops_core.storage.postgres import statements
    from ops_core.storage.schema import approvals as table

    locked, unlocked = "ORDER BY id FOR UPDATE)", "ORDER BY id)"
    assert locked in statements._LOCK
    statements._LOCK = statements._LOCK.replace(locked, unlocked)

    async def current(settlement: Any, approval_id: Any) -> Any:
        rows = await settlement.tx.run(select(table).where(table.c.id == approval_id))
        [approval] = await approvals_from(rows, settlement.tx.run)
        await asyncio.sleep(0.1)
        return approval

    approvals._current = current


def isolation() -> None:
    """Who has crashed, however often, runs among the others."""
    from ops_core.worker.isolation import Isolation

    async def among_the_others(self: Isolation, task: Any, control: Any) -> None:
        await self._run_here(task, control)

    Isolation.run = among_the_others  # type: ignore[method-assign]


async def _nothing(self: object) -> int:
    return 0


REMEDIES: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        ring_again,
        take_back,
        claim_check,
        journal,
        intent,
        fence,
        early_acknowledgement,
        database_clock,
        hand_over,
        resumption,
        isolation,
        vote_lock,
    )
}
