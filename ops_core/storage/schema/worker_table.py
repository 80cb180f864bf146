"""The table of worker processes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field

from ops_core.storage.column_types import UtcTime, VerbatimJson
from ops_core.storage.schema.base import Stored, table_of


class WorkerRow(Stored, table=True):
    """What a worker process said of itself with its last heartbeat."""

    __tablename__ = "workers"

    worker_id: str = Field(primary_key=True, sa_type=Text)
    hostname: str = Field(sa_type=Text)
    pid: int
    version: str = Field(sa_type=Text)
    queues: list[str] = Field(sa_type=VerbatimJson, nullable=False)
    slots: int
    busy: int
    draining: bool
    started_at: datetime = Field(sa_type=UtcTime)
    seen_at: datetime = Field(sa_type=UtcTime)


workers = table_of(WorkerRow)
