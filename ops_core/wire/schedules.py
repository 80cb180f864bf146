"""Schedules as JSON: what clients send, and what they get."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ops_core.domain.schedule import CatchUp, Schedule
from ops_core.services.schedules import ScheduleChange, ScheduleDraft, SchedulePage
from ops_core.wire.tasks import REQUEST, RESPONSE, TASK_ID_EXAMPLE, TaskIn
from ops_core.wire.times import TimeOut

_SUBMISSION_EXAMPLE: dict[str, Any] = {"agent": "assistant", "goal": "Summarise yesterday's tickets"}
CREATE_EXAMPLE: dict[str, Any] = {
    "name": "morning-report",
    "cron": "30 8 * * mon-fri",
    "timezone": "Europe/Berlin",
    "submission": _SUBMISSION_EXAMPLE,
    "catch_up": "one",
}
SCHEDULE_EXAMPLE: dict[str, Any] = {
    "id": "019375b6-5d00-7a42-8c5f-2e3d4c5b6a78",
    "namespace": "default",
    "name": "morning-report",
    "cron": "30 8 * * mon-fri",
    "timezone": "Europe/Berlin",
    "submission": _SUBMISSION_EXAMPLE,
    "catch_up": "one",
    "paused": False,
    "next_at": "2026-11-23T07:30:00Z",
    "last_at": "2026-11-20T07:30:00.640112Z",
    "last_task_id": TASK_ID_EXAMPLE,
    "last_error": None,
    "created_at": "2026-11-01T12:00:00Z",
    "updated_at": "2026-11-01T12:00:00Z",
    "created_by": "ada",
    "version": 1,
}
TIMES_EXAMPLE: dict[str, Any] = {"data": ["2026-11-23T07:30:00Z", "2026-11-24T07:30:00Z"]}

_CRON = "Minute, hour, day of month, month, day of week; as cron reads them."
_ZONE = "IANA name, such as Europe/Berlin."
_CATCH_UP = "What becomes of missed times. `skip`: nothing. `one`: one task for all of them. `all`: a task for each."
_SUBMISSION = "What each time submits: as a submit takes it, without `run_at` and `idempotency_key`."


class ScheduleIn(BaseModel):
    """A schedule to add."""

    model_config = ConfigDict(**REQUEST, json_schema_extra={"examples": [CREATE_EXAMPLE]})

    name: StrictStr = Field(description="Unique. 1 to 128 letters, digits, `.`, `_` or `-`.")
    cron: StrictStr = Field(description=_CRON)
    timezone: StrictStr = Field(default="UTC", description=_ZONE)
    submission: TaskIn = Field(description=_SUBMISSION)
    catch_up: CatchUp = Field(default=CatchUp.one, description=_CATCH_UP)
    paused: StrictBool = False

    def to_draft(self) -> ScheduleDraft:
        return ScheduleDraft(
            name=self.name,
            cron=self.cron,
            timezone=self.timezone,
            submission=self.submission.to_submission(),
            catch_up=self.catch_up,
            paused=self.paused,
        )


class ScheduleChangeIn(BaseModel):
    """What is to be different; what is left out stays as it is."""

    model_config = ConfigDict(**REQUEST, json_schema_extra={"examples": [{"cron": "0 9 * * mon-fri", "version": 1}]})

    cron: StrictStr | None = Field(default=None, description=_CRON)
    timezone: StrictStr | None = Field(default=None, description=_ZONE)
    submission: TaskIn | None = Field(default=None, description=_SUBMISSION)
    catch_up: CatchUp | None = Field(default=None, description=_CATCH_UP)
    version: StrictInt | None = Field(default=None, description="Change it only if it still has this version.")

    def to_change(self) -> ScheduleChange:
        return ScheduleChange(
            cron=self.cron,
            timezone=self.timezone,
            submission=None if self.submission is None else self.submission.to_submission(),
            catch_up=self.catch_up,
        )


class ScheduleOut(BaseModel):
    """A schedule as it stands."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [SCHEDULE_EXAMPLE]})

    id: UUID
    namespace: str
    name: str
    cron: str
    timezone: str
    submission: dict[str, Any]
    catch_up: CatchUp
    paused: bool
    next_at: TimeOut = Field(description="Its next time; of a paused one, the first that it has not fired.")
    last_at: TimeOut | None = Field(default=None, description="When it last fired.")
    last_task_id: UUID | None = Field(default=None, description="The task of its last time that made one.")
    last_error: str | None = Field(default=None, description="Why its last time made none.")
    created_at: TimeOut
    updated_at: TimeOut
    created_by: str
    version: int = Field(description="Raised by each change.")

    @staticmethod
    def from_domain(schedule: Schedule) -> ScheduleOut:
        return ScheduleOut.model_validate(schedule)


class SchedulePageOut(BaseModel):
    """Some schedules, by name."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [SCHEDULE_EXAMPLE], "next_cursor": None}]}
    )

    data: list[ScheduleOut]
    next_cursor: str | None = Field(description="Ask for the next page with it; null at the end of the list.")

    @staticmethod
    def from_domain(page: SchedulePage) -> SchedulePageOut:
        return SchedulePageOut(
            data=[ScheduleOut.from_domain(one) for one in page.schedules], next_cursor=page.next_cursor
        )


class TimesOut(BaseModel):
    """Times to come, in order."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [TIMES_EXAMPLE]})

    data: list[TimeOut]

    @staticmethod
    def of(times: Sequence[datetime]) -> TimesOut:
        return TimesOut(data=list(times))


class SchedulesQueryIn(BaseModel):
    """The query of a list of schedules."""

    model_config = REQUEST

    limit: int = Field(default=50, description="1 to 200.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class NextTimesQueryIn(BaseModel):
    """The query of a schedule's next times."""

    model_config = REQUEST

    count: int = Field(default=5, description="1 to 100.")
