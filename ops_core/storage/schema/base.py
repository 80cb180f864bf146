"""What all tables have in common."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from sqlalchemy import MetaData, Table
from sqlmodel import SQLModel

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Rows of tasks are updated several times each within seconds: room on the page keeps the updates HOT, and vacuum goes
# by a number of rows, since a fraction of ten million is never reached.
BUSY_TABLE = {
    "fillfactor": 60,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 5000,
    "autovacuum_analyze_scale_factor": 0,
    "autovacuum_analyze_threshold": 5000,
}
GROWING_TABLE = {
    "autovacuum_vacuum_insert_scale_factor": 0,
    "autovacuum_vacuum_insert_threshold": 50000,
    "autovacuum_analyze_scale_factor": 0,
    "autovacuum_analyze_threshold": 50000,
}


class Stored(SQLModel):
    metadata: ClassVar[MetaData] = metadata


def table_of(row: type[SQLModel]) -> Table:
    return cast(Table, cast(Any, row).__table__)
