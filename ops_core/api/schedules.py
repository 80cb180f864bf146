"""Schedules over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ops_core.api.door import PREFIX, DoorDep, IdempotencyKey, next_page, reply
from ops_core.api.openapi import answers, answers_nothing
from ops_core.api.strict_json import StrictRoute
from ops_core.wire.schedules import (
    SCHEDULE_EXAMPLE,
    TIMES_EXAMPLE,
    NextTimesQueryIn,
    ScheduleChangeIn,
    ScheduleIn,
    ScheduleOut,
    SchedulePageOut,
    SchedulesQueryIn,
    TimesOut,
)
from ops_core.wire.tasks import TASK_EXAMPLE, TaskOut

router = APIRouter(prefix=f"{PREFIX}/schedules", tags=["schedules"], route_class=StrictRoute)


@router.post(
    "", status_code=201, responses=answers(ScheduleOut, SCHEDULE_EXAMPLE, "The schedule; it fires.", status=201)
)
async def create_schedule(body: ScheduleIn, door: DoorDep) -> Response:
    """Add a schedule: a cron line in a time zone that submits tasks."""
    schedule = await door.services.schedules.create(door.caller, body.to_draft())
    return reply(ScheduleOut.from_domain(schedule), 201, {"Location": f"{PREFIX}/schedules/{schedule.name}"})


@router.get(
    "",
    responses=answers(SchedulePageOut, {"data": [SCHEDULE_EXAMPLE], "next_cursor": None}, "Some schedules, by name."),
)
async def list_schedules(request: Request, door: DoorDep, query: Annotated[SchedulesQueryIn, Query()]) -> Response:
    """List schedules, by name."""
    page = await door.services.schedules.list(door.caller, limit=query.limit, cursor=query.cursor)
    return reply(SchedulePageOut.from_domain(page), headers=next_page(request, page.next_cursor))


@router.get("/{name}", responses=answers(ScheduleOut, SCHEDULE_EXAMPLE, "The schedule as it stands."))
async def get_schedule(name: str, door: DoorDep) -> Response:
    """Get a schedule."""
    return reply(ScheduleOut.from_domain(await door.services.schedules.get(door.caller, name)))


@router.patch("/{name}", responses=answers(ScheduleOut, SCHEDULE_EXAMPLE, "The schedule as it stands now."))
async def update_schedule(name: str, body: ScheduleChangeIn, door: DoorDep) -> Response:
    """Change what is given; with `version`, only if the schedule still has it."""
    changed = await door.services.schedules.update(door.caller, name, body.to_change(), version=body.version)
    return reply(ScheduleOut.from_domain(changed))


@router.delete("/{name}", status_code=204, responses=answers_nothing("It is gone; its tasks stay."))
async def delete_schedule(name: str, door: DoorDep) -> Response:
    """Delete a schedule."""
    await door.services.schedules.delete(door.caller, name)
    return Response(status_code=204)


@router.post("/{name}/pause", responses=answers(ScheduleOut, SCHEDULE_EXAMPLE, "It fires no more."))
async def pause_schedule(name: str, door: DoorDep) -> Response:
    """Pause a schedule. Harmless when it is paused."""
    return reply(ScheduleOut.from_domain(await door.services.schedules.pause(door.caller, name)))


@router.post("/{name}/resume", responses=answers(ScheduleOut, SCHEDULE_EXAMPLE, "It fires."))
async def resume_schedule(name: str, door: DoorDep) -> Response:
    """Let a paused schedule go on. `catch_up` says what becomes of the times that have passed."""
    return reply(ScheduleOut.from_domain(await door.services.schedules.resume(door.caller, name)))


@router.post("/{name}/trigger", status_code=201, responses=answers(TaskOut, TASK_EXAMPLE, "The task.", status=201))
async def trigger_schedule(name: str, door: DoorDep, idempotency_key: IdempotencyKey = None) -> Response:
    """Submit now what the schedule submits; its own times stay as they are."""
    submitted = await door.services.schedules.trigger(door.caller, name, idempotency_key=idempotency_key)
    headers = {"Location": f"{PREFIX}/tasks/{submitted.task.id}"}
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return reply(TaskOut.from_domain(submitted.task), 200 if submitted.replayed else 201, headers)


@router.get("/{name}/next", responses=answers(TimesOut, TIMES_EXAMPLE, "The times to come, in UTC."))
async def list_next_times(name: str, door: DoorDep, query: Annotated[NextTimesQueryIn, Query()]) -> Response:
    """Tell when a schedule will fire, as if it went on now where it is paused."""
    times = await door.services.schedules.next_times(door.caller, name, count=query.count)
    return reply(TimesOut.of(times))
