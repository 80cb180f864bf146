"""Long JSON leaves its row: what the row has instead, and what is put apart under its hash."""

from __future__ import annotations

import hashlib

from ops_core.domain.task import JsonValue
from ops_core.storage.json_text import dump_json
from ops_core.storage.writes import StoredJson, Transaction

#: Longer texts leave the row.
INLINE_BYTES = 16_000


async def stored_in(tx: Transaction, namespace: str, value: JsonValue) -> StoredJson:
    """The value in the form of a row that the same transaction writes.

    Raises:
        InvalidInput: the value is no JSON.
    """
    stored, data = split(value)
    if stored.blob is not None:
        await tx.put_blob(namespace, stored.blob, data)
    return stored


def split(value: JsonValue) -> tuple[StoredJson, bytes]:
    """The form of the row, and what is to be put apart when that names a blob.

    Raises:
        InvalidInput: the value is no JSON.
    """
    text = dump_json(value)
    if len(text) <= INLINE_BYTES // 4:
        return StoredJson(text=text), b""
    data = text.encode()
    if len(data) <= INLINE_BYTES:
        return StoredJson(text=text), b""
    return StoredJson(blob=hashlib.sha256(data).hexdigest()), data
