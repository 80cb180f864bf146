"""The tables of agents and their versions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field

from ops_core.domain.task import JsonObject
from ops_core.storage.column_types import UtcTime, VerbatimJson
from ops_core.storage.schema.base import Stored, table_of


class AgentRow(Stored, table=True):
    """Which version of an agent new tasks get."""

    __tablename__ = "agents"

    namespace: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(primary_key=True, sa_type=Text)
    digest: str = Field(sa_type=Text)
    registered_at: datetime = Field(sa_type=UtcTime)


class AgentVersionRow(Stored, table=True):
    """A definition by its content hash; never changed, since tasks are pinned to it."""

    __tablename__ = "agent_versions"

    digest: str = Field(primary_key=True, sa_type=Text)
    namespace: str = Field(primary_key=True, sa_type=Text)
    definition: JsonObject = Field(sa_type=VerbatimJson, nullable=False)
    created_at: datetime = Field(sa_type=UtcTime)


agents = table_of(AgentRow)
agent_versions = table_of(AgentVersionRow)
