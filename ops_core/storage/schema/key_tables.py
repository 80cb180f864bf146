"""The tables of keys that bound what runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, desc
from sqlmodel import Field

from ops_core.storage.column_types import UtcTime
from ops_core.storage.schema.base import Stored, table_of


class ConcurrencyKeyRow(Stored, table=True):
    """How many tasks hold a place of a concurrency key. Its row is the key's lock."""

    __tablename__ = "concurrency_keys"
    __table_args__ = (CheckConstraint("held >= 0", name="held_sane"),)

    namespace: str = Field(primary_key=True, sa_type=Text)
    concurrency_key: str = Field(primary_key=True, sa_type=Text)
    held: int
    #: When its line is to be looked at: a place was left, and the best blocked task was held by somebody. Else None.
    release_at: datetime | None = Field(sa_type=UtcTime, index=True)
    used_at: datetime = Field(sa_type=UtcTime)


class RateKeyRow(Stored, table=True):
    """When the tasks of a rate key may start. Its row is the key's lock."""

    __tablename__ = "rate_keys"

    namespace: str = Field(primary_key=True, sa_type=Text)
    rate_key: str = Field(primary_key=True, sa_type=Text)
    #: Theoretical arrival time of the next task (GCRA, ITU-T I.371).
    next_at: datetime = Field(sa_type=UtcTime)
    #: When a blocked task of this key can be let in; None when none is blocked.
    release_at: datetime | None = Field(sa_type=UtcTime, index=True)
    used_at: datetime = Field(sa_type=UtcTime)


class FairnessKeyRow(Stored, table=True):
    """How far a fairness key has got in its queue's virtual time (start-time fair queueing)."""

    __tablename__ = "fairness_keys"
    __table_args__ = (Index("ix_fairness_keys_last_rank", "queue", desc("last_rank")),)

    queue: str = Field(primary_key=True, sa_type=Text)
    namespace: str = Field(primary_key=True, sa_type=Text)
    fairness_key: str = Field(primary_key=True, sa_type=Text)
    last_rank: int = Field(sa_type=BigInteger)
    used_at: datetime = Field(sa_type=UtcTime)


concurrency_keys = table_of(ConcurrencyKeyRow)
rate_keys = table_of(RateKeyRow)
fairness_keys = table_of(FairnessKeyRow)
