"""The table of schedules."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlmodel import Field

from ops_core.domain.task import JsonObject
from ops_core.storage.column_types import UtcTime, VerbatimJson
from ops_core.storage.schema.base import Stored, table_of


class ScheduleRow(Stored, table=True):
    """A cron line that adds tasks."""

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint("paused OR next_at IS NOT NULL", name="has_next_time"),
        Index("uq_schedules_name", "namespace", "name", unique=True),
        Index(
            "ix_schedules_due",
            "next_at",
            postgresql_where=text("NOT paused"),
            sqlite_where=text("NOT paused"),
        ),
    )

    id: UUID = Field(primary_key=True)
    namespace: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    cron: str = Field(sa_type=Text)
    timezone: str = Field(sa_type=Text)
    submission: JsonObject = Field(sa_type=VerbatimJson, nullable=False)
    catch_up: str = Field(sa_type=Text)
    paused: bool
    next_at: datetime | None = Field(sa_type=UtcTime)
    last_at: datetime | None = Field(sa_type=UtcTime)
    last_task_id: UUID | None
    last_error: str | None = Field(sa_type=Text)
    version: int
    created_at: datetime = Field(sa_type=UtcTime)
    created_by: str = Field(sa_type=Text)
    updated_at: datetime = Field(sa_type=UtcTime)


schedules = table_of(ScheduleRow)
