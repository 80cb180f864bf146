"""Write transactions on PostgreSQL: connections of their own, made when needed, made anew when lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.rows import DictRow, dict_row

from ops_core.errors import StoreUnavailable
from ops_core.storage.postgres.statements import PostgresTransaction
from ops_core.storage.writes import AnswerLost, Transaction, TryAgain, WriteRefused

T = TypeVar("T")

# A plan made while `tasks` was nearly empty scans the whole table for ever after: plan once, by index. What a hung
# server or a lost network does not end, the time-outs end.
_SET_UP = """
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off; SET timezone = 'UTC';
SET synchronous_commit = on; SET statement_timeout = {timeout}; SET lock_timeout = {timeout};
SET idle_in_transaction_session_timeout = {timeout}
"""

#: Surely rolled back, for a reason that passes.
_PASSING = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.TooManyConnections,
)

#: Because of a value: it breaks a rule of the table, is none of its type, or is too long for an index.
_REFUSED = (errors.IntegrityError, errors.DataError, errors.ProgramLimitExceeded, errors.StatementTooComplex)


class PostgresBackend:
    """Transactions on a few connections, first come, first served."""

    def __init__(self, conninfo: str, *, connections: int, answer_seconds: float) -> None:
        self._conninfo = conninfo
        self._answer_seconds = answer_seconds
        self._turns = asyncio.Semaphore(connections)
        self._idle: list[AsyncConnection[DictRow]] = []

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._connection() as connection, connection.transaction():
            return await work(PostgresTransaction(connection))

    async def autocommit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._connection() as connection:
            return await work(PostgresTransaction(connection))

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        async with self._turn():
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                async with asyncio.timeout(self._answer_seconds):
                    yield connection
            except psycopg.Error as error:
                translated = _translated(error, connection)
                if isinstance(translated, StoreUnavailable):
                    # It may be this connection: that of a server which is no longer the primary stays read-only.
                    await connection.close()
                raise translated from error
            except TimeoutError as error:
                await connection.close()
                raise AnswerLost("PostgreSQL did not answer in time") from error
            except asyncio.CancelledError:
                # In the middle of who knows what.
                await connection.close()
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._answer_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("PostgreSQL is slow: other writes hold all connections") from error
        try:
            yield
        finally:
            self._turns.release()

    async def _connect(self) -> AsyncConnection[DictRow]:
        """Raises:
        StoreUnavailable: no connection within the time.
        """
        timeout = max(1, int(self._answer_seconds * 1000))
        try:
            async with asyncio.timeout(self._answer_seconds):
                connection = await AsyncConnection.connect(
                    self._conninfo,
                    autocommit=True,
                    prepare_threshold=0,
                    row_factory=dict_row,
                    application_name="ops-core writer",
                    tcp_user_timeout=timeout,
                )
                try:
                    # The server gives up first: then it is known that nothing was written.
                    set_up = _SET_UP.format(timeout=max(1, timeout * 4 // 5))
                    await connection.execute(set_up.encode(), prepare=False)
                except BaseException:
                    await connection.close()
                    raise
                return connection
        except (psycopg.Error, TimeoutError) as error:
            raise StoreUnavailable(f"PostgreSQL cannot be reached: {error or 'no answer in time'}") from error


def _translated(error: psycopg.Error, connection: AsyncConnection[DictRow]) -> Exception:
    if connection.closed or (isinstance(error, errors.OperationalError) and error.sqlstate is None):
        return AnswerLost(str(error))
    if isinstance(error, _PASSING):
        return TryAgain(str(error))
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return StoreUnavailable(f"the database has another schema than this version wants: {error}")
    if isinstance(error, _REFUSED) or error.sqlstate is None:
        return WriteRefused(str(error))
    # Shutting down, out of disk, out of memory, read-only, not permitted: rolled back, and may pass.
    return StoreUnavailable(f"PostgreSQL: {error}")
