"""Schedules, and requests about them: between protobuf messages and our own values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ops_core.domain.schedule import CatchUp, Schedule
from ops_core.services.scheduled_submission import submission_from_json
from ops_core.services.schedules import ScheduleChange, ScheduleDraft, SchedulePage
from ops_core.wire.pb.v1 import schedules_pb2 as pb
from ops_core.wire.protobuf_enums import member_of, numbers_of
from ops_core.wire.protobuf_tasks import submission_from, submission_message
from ops_core.wire.protobuf_time import timestamp_from

CATCH_UP_NUMBERS = numbers_of(CatchUp, pb.CatchUp, "CATCH_UP")


def schedule_message(schedule: Schedule) -> pb.Schedule:
    """The schedule as a message."""
    return pb.Schedule(
        id=str(schedule.id),
        namespace=schedule.namespace,
        name=schedule.name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        submission=submission_message(submission_from_json(schedule.submission)),
        catch_up=CATCH_UP_NUMBERS[schedule.catch_up],
        paused=schedule.paused,
        next_at=timestamp_from(schedule.next_at),
        last_at=timestamp_from(schedule.last_at),
        last_task_id=None if schedule.last_task_id is None else str(schedule.last_task_id),
        last_error=schedule.last_error,
        created_at=timestamp_from(schedule.created_at),
        updated_at=timestamp_from(schedule.updated_at),
        created_by=schedule.created_by,
        version=schedule.version,
    )


def page_message(page: SchedulePage) -> pb.ListSchedulesResponse:
    """A page of schedules, as a message."""
    return pb.ListSchedulesResponse(
        schedules=map(schedule_message, page.schedules), next_page_token=page.next_cursor or ""
    )


def times_message(times: Sequence[datetime]) -> pb.ListNextTimesResponse:
    """Times to come, as a message."""
    return pb.ListNextTimesResponse(times=[one for one in map(timestamp_from, times) if one is not None])


def draft_from(request: pb.CreateScheduleRequest) -> ScheduleDraft:
    """The schedule that is wanted; its values are judged by the service.

    Raises:
        InvalidInput: a part of it means nothing.
    """
    return ScheduleDraft(
        name=request.name,
        cron=request.cron,
        timezone=request.timezone if request.HasField("timezone") else "UTC",
        submission=submission_from(request.submission, traceparent=None, pointer="/submission"),
        catch_up=_catch_up(request.catch_up) or CatchUp.one,
        paused=request.paused,
    )


def change_from(request: pb.UpdateScheduleRequest) -> ScheduleChange:
    """What is to be different.

    Raises:
        InvalidInput: a part of it means nothing.
    """
    return ScheduleChange(
        cron=request.cron if request.HasField("cron") else None,
        timezone=request.timezone if request.HasField("timezone") else None,
        submission=(
            submission_from(request.submission, traceparent=None, pointer="/submission")
            if request.HasField("submission")
            else None
        ),
        catch_up=_catch_up(request.catch_up),
    )


def _catch_up(number: int) -> CatchUp | None:
    if number == pb.CATCH_UP_UNSPECIFIED:
        return None
    return member_of(CATCH_UP_NUMBERS, number, pointer="/catch_up")
