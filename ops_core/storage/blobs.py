"""Long JSON, kept apart from the rows by the SHA-256 of its text, and brought back when a row is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_

from ops_core.domain.task import JsonValue
from ops_core.storage.json_text import load_json
from ops_core.storage.long_json import split
from ops_core.storage.reader import Reader
from ops_core.storage.schema import blobs
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import StoredJson, Transaction


class Blobs:
    """Puts long JSON before the row that names it: a blob that no row names is harmless, the reverse is not."""

    def __init__(self, single: SingleWrite, reader: Reader) -> None:
        self._single = single
        self._reader = reader

    async def stored(self, namespace: str, value: JsonValue) -> StoredJson:
        """The value in the form of a row; a long one is committed as a blob when this returns.

        Raises:
            InvalidInput: the value is no JSON.
            StoreUnavailable
        """
        return await self._stored(value, lambda tx, digest, data: tx.put_blob(namespace, digest, data))

    async def stored_of_task(self, task_id: UUID, value: JsonValue) -> StoredJson:
        """As `stored`, in the namespace of the task."""
        return await self._stored(value, lambda tx, digest, data: tx.put_blob_of_task(task_id, digest, data))

    async def values(self, records: Sequence[Mapping[str, Any]], column: str) -> list[JsonValue]:
        """That column of each record, wherever its value is kept."""
        name = f"{column}_blob"
        wanted = {(record["namespace"], record[name]) for record in records if record[name]}
        long = await self._load(wanted) if wanted else {}
        return [long[r["namespace"], r[name]] if r[name] else r[column] for r in records]

    async def _stored(self, value: JsonValue, put: Callable[[Transaction, str, bytes], Awaitable[None]]) -> StoredJson:
        stored, data = split(value)
        if (digest := stored.blob) is not None:
            await self._single.run_repeatable(lambda tx: put(tx, digest, data))
        return stored

    async def _load(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], JsonValue]:
        key = tuple_(blobs.c.namespace, blobs.c.digest)
        rows = await self._reader.rows(select(blobs).where(key.in_(sorted(wanted))))
        return {(row["namespace"], row["digest"]): load_json(bytes(row["data"]).decode()) for row in rows}
