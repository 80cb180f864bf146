"""The table of what is too long for a row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary, Text
from sqlmodel import Field

from ops_core.storage.column_types import UtcTime
from ops_core.storage.schema.base import Stored, table_of


class BlobRow(Stored, table=True):
    """JSON text that is too long for a row, by the SHA-256 of its bytes; no namespace shares it with another."""

    __tablename__ = "blobs"

    namespace: str = Field(primary_key=True, sa_type=Text)
    digest: str = Field(primary_key=True, sa_type=Text)
    data: bytes = Field(sa_type=LargeBinary)
    #: Renewed by each put: whoever prunes must spare what a row not yet committed may name.
    put_at: datetime = Field(sa_type=UtcTime)


blobs = table_of(BlobRow)
