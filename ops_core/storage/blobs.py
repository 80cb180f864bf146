"""Long JSON, kept apart from the rows by the SHA-256 of its text, and brought back when a row is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

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

    async def stored(self, value: JsonValue) -> StoredJson:
        """The value in the form of a row; a long one is committed as a blob when this returns.

        Raises:
            InvalidInput: the value is no JSON.
            StoreUnavailable
        """
        text = dump_json(value)
        if len(text) <= INLINE_BYTES // 4:
            return StoredJson(text=text)
        data = text.encode()
        if len(data) <= INLINE_BYTES:
            return StoredJson(text=text)
        digest = hashlib.sha256(data).hexdigest()

        async def put(tx: Transaction) -> None:
            await tx.put_blobs({digest: data})

        await self._single.run_repeatable(put)
        return StoredJson(blob=digest)

    async def values(self, records: Sequence[Mapping[str, Any]], column: str) -> list[JsonValue]:
        """That column of each record, wherever its value is kept."""
        wanted = {record[f"{column}_blob"] for record in records} - {None}
        long = await self._load(wanted) if wanted else {}
        return [long[r[f"{column}_blob"]] if r[f"{column}_blob"] else r[column] for r in records]

    async def _load(self, digests: Iterable[str]) -> dict[str, JsonValue]:
        statement = select(blobs.c.digest, blobs.c.data).where(blobs.c.digest.in_(sorted(digests)))
        rows = await self._reader.rows(statement)
        return {row["digest"]: load_json(bytes(row["data"]).decode()) for row in rows}
