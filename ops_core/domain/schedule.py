"""When a schedule adds a task: a cron line in a time zone, and what happens to times that were missed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ops_core.domain.task import JsonObject

#: What a schedule may be called.
SCHEDULE_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$"


class CatchUp(StrEnum):
    """What happens to the times that passed while no housekeeper ran or the schedule was paused."""

    #: Nothing: it goes on with the next time to come.
    skip = "skip"
    #: One task for all of them.
    one = "one"
    #: A task for each, up to a limit.
    all = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A validated schedule. The id is made by the service (UUIDv7)."""

    id: UUID
    namespace: str
    #: Unique in its namespace.
    name: str
    #: Five fields, as cron reads them.
    cron: str
    #: IANA name, such as Europe/Berlin.
    timezone: str
    #: The submission that each time makes, as the wire's JSON of one; checked when it was given.
    submission: JsonObject
    catch_up: CatchUp = CatchUp.one
    paused: bool = False
    #: The first of its times that it has not made a task for. While it is paused that time may be past: what happens
    #: to it and to those that followed is `catch_up`'s to say when the schedule goes on.
    next_at: datetime
    created_by: str = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(NewSchedule):
    """A schedule as it stands."""

    created_at: datetime
    updated_at: datetime
    last_at: datetime | None = None
    last_task_id: UUID | None = None
    #: Why its last time made no task, such as an agent that is gone; None when it did.
    last_error: str | None = None
    #: Raised by each change: one that was made from an old reading is refused.
    version: int = 1
