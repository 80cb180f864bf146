"""What keys need from the housekeeper: lines that are to be looked at by now, and rows that nobody uses any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy import bindparam, text

from ops_core.ports import Ring
from ops_core.storage import key_rows, keys, ranks
from ops_core.storage.column_types import UtcTime
from ops_core.storage.settlement import merged, rings_of
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import Change, Transaction

#: Keys of each kind that one tick looks at; each is a transaction of its own.
_KEYS_A_TICK = 100

# A row of a key that somebody holds or waits for stays.
_SWEEP_PLACES = """DELETE FROM concurrency_keys WHERE (namespace, concurrency_key) IN (
    SELECT namespace, concurrency_key FROM concurrency_keys WHERE held = 0 AND release_at IS NULL AND used_at < :before
    ORDER BY namespace, concurrency_key LIMIT :limit {locking})
RETURNING 1 AS gone"""
_SWEEP_RATES = """DELETE FROM rate_keys WHERE (namespace, rate_key) IN (
    SELECT namespace, rate_key FROM rate_keys WHERE release_at IS NULL AND next_at < :before AND used_at < :before
    ORDER BY namespace, rate_key LIMIT :limit {locking})
RETURNING 1 AS gone"""
# What is behind the virtual time says little: at most that a head start was used. The highest rank of a queue is its
# virtual time while nothing can be claimed.
_SWEEP_RANKS = """DELETE FROM fairness_keys WHERE (queue, namespace, fairness_key) IN (
    SELECT queue, namespace, fairness_key FROM fairness_keys WHERE queue = :queue AND used_at < :before
        AND last_rank <= :virtual_time
        AND last_rank < (SELECT max(last_rank) FROM fairness_keys WHERE queue = :queue)
    ORDER BY queue, namespace, fairness_key LIMIT :limit {locking})
RETURNING 1 AS gone"""
_STALE_QUEUES = text("SELECT DISTINCT queue FROM fairness_keys WHERE used_at < :before ORDER BY queue")


class KeyHousekeeping:
    """Ticks for keys."""

    def __init__(self, *, single: SingleWrite, is_sqlite: bool) -> None:
        self._single = single
        locking = "" if is_sqlite else "FOR UPDATE SKIP LOCKED"
        self._sweeps = [text(statement.format(locking=locking)) for statement in (_SWEEP_PLACES, _SWEEP_RATES)]
        self._sweep_ranks = text(_SWEEP_RANKS.format(locking=locking))

    async def let_in_due(self) -> Sequence[Ring]:
        """Let in tasks whose rate allows it by now, and those for whom a place was left."""
        rings: list[Ring] = []
        rates, places = await self._single.run_repeatable(_keys_due)
        for name in rates:
            rings += await self._let_in(partial(keys.let_in_by_rate, name=name))
        for name in places:
            rings += await self._let_in(partial(keys.let_in_by_place, name=name))
        return merged(rings)

    async def _let_in(self, look: Callable[[Transaction], Awaitable[Sequence[Change]]]) -> Sequence[Ring]:
        changes = await self._single.run_repeatable(look)
        self._single.tell(changes)
        return rings_of(changes)

    async def sweep_keys(self, *, unused_seconds: float, limit: int) -> int:
        """Delete rows of keys that were not used for so long, and that nobody holds; at most `limit` of each kind."""
        unused = timedelta(seconds=unused_seconds)
        return await self._single.run_repeatable(partial(self._sweep, unused=unused, limit=limit))

    async def _sweep(self, tx: Transaction, *, unused: timedelta, limit: int) -> int:
        before = bindparam("before", await tx.now() - unused, type_=UtcTime)
        swept = sum([len(await tx.run(sweep.bindparams(before, limit=limit))) for sweep in self._sweeps])
        for row in await tx.run(_STALE_QUEUES.bindparams(before)):
            queue = row["queue"]
            virtual_time = await ranks.virtual_time(tx, queue)
            sweep = self._sweep_ranks.bindparams(before, queue=queue, virtual_time=virtual_time, limit=limit)
            swept += len(await tx.run(sweep))
        return swept


async def _keys_due(tx: Transaction) -> tuple[Sequence[key_rows.Name], Sequence[key_rows.Name]]:
    now = await tx.now()
    rates = await key_rows.rates_due(tx, now, limit=_KEYS_A_TICK)
    return rates, await key_rows.places_due(tx, now, limit=_KEYS_A_TICK)
