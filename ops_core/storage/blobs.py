"""Long JSON, kept apart from the rows by the SHA-256 of its text, and brought back when a row is read."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_

from ops_core.domain.task import JsonValue
from ops_core.storage.json_text import dump_json, load_json
from ops_core.storage.reader import Reader
from ops_core.storage.schema import blobs
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import StoredJson, Transaction

#: Longer texts leave the row.
INLINE_BYTES = 16_000


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
        stored, data = _split(value)
        if (digest := stored.blob) is not None:
            await self._single.run_repeatable(lambda tx: put(tx, digest, data))
        return stored

    async def _load(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], JsonValue]:
        key = tuple_(blobs.c.namespace, blobs.c.digest)
        rows = await self._reader.rows(select(blobs).where(key.in_(sorted(wanted))))
        return {(row["namespace"], row["digest"]): load_json(bytes(row["data"]).decode()) for row in rows}


async def stored_in(tx: Transaction, namespace: str, value: JsonValue) -> StoredJson:
    """As `Blobs.stored`, within the transaction that writes the row.

    Raises:
        InvalidInput: the value is no JSON.
    """
    stored, data = _split(value)
    if stored.blob is not None:
        await tx.put_blob(namespace, stored.blob, data)
    return stored


def _split(value: JsonValue) -> tuple[StoredJson, bytes]:
    """The form of the row, and what is to be put apart when that names a blob."""
    text = dump_json(value)
    if len(text) <= INLINE_BYTES // 4:
        return StoredJson(text=text), b""
    data = text.encode()
    if len(data) <= INLINE_BYTES:
        return StoredJson(text=text), b""
    return StoredJson(blob=hashlib.sha256(data).hexdigest()), data


async def stored_with(tx: Transaction, namespace: str, value: JsonValue) -> StoredJson:
    """The value in the form of a row that the same transaction writes.

    Raises:
        InvalidInput: the value is no JSON.
    """
    stored, data = _formed(value)
    if stored.blob is not None:
        await tx.put_blob(namespace, stored.blob, data)
    return stored


def _formed(value: JsonValue) -> tuple[StoredJson, bytes]:
    """The form, and what belongs into the blob that it names."""
    text = dump_json(value)
    if len(text) <= INLINE_BYTES // 4:
        return StoredJson(text=text), b""
    data = text.encode()
    if len(data) <= INLINE_BYTES:
        return StoredJson(text=text), b""
    return StoredJson(blob=hashlib.sha256(data).hexdigest()), data
