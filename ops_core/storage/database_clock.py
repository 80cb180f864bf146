"""The database's time, which all that is due is judged by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import func, select

from ops_core.storage.reader import Reader


class DatabaseClock:
    """One for all stores of a database."""

    def __init__(self, reader: Reader, *, machine_clock: Callable[[], datetime] | None) -> None:
        """`machine_clock` where the database has no clock of its own."""
        self._reader = reader
        self._machine_clock = machine_clock

    async def now(self) -> datetime:
        """Raises:
        StoreUnavailable: the database cannot be reached in time.
        """
        if self._machine_clock is not None:
            return self._machine_clock()
        (row,) = await self._reader.rows(select(func.clock_timestamp().label("now")))
        now: datetime = row["now"]
        return now
