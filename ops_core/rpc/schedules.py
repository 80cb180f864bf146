"""The gRPC door to schedules."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from ops_core.rpc.call import Call
from ops_core.rpc.paging import fitting_page, page_size
from ops_core.services.limits import TaskLimits
from ops_core.services.schedules import ScheduleService
from ops_core.wire.pb.v1 import schedules_pb2 as pb
from ops_core.wire.pb.v1 import tasks_pb2
from ops_core.wire.protobuf_schedules import change_from, draft_from, page_message, schedule_message, times_message
from ops_core.wire.protobuf_tasks import submitted_message

_DEFAULT_SCHEDULES = 50
_DEFAULT_TIMES = 5


class ScheduleServicer:
    """Each method: translate in, call one service method, translate out."""

    def __init__(self, *, schedules: ScheduleService, limits: TaskLimits) -> None:
        self._schedules = schedules
        self._limits = limits

    async def CreateSchedule(self, request: pb.CreateScheduleRequest, call: Call) -> pb.Schedule:
        return schedule_message(await self._schedules.create(call.caller, draft_from(request)))

    async def GetSchedule(self, request: pb.GetScheduleRequest, call: Call) -> pb.Schedule:
        return schedule_message(await self._schedules.get(call.caller, request.name))

    async def ListSchedules(self, request: pb.ListSchedulesRequest, call: Call) -> pb.ListSchedulesResponse:
        limit = page_size(request.page_size, default=_DEFAULT_SCHEDULES, most=self._limits.max_page)

        async def read(limit: int) -> tuple[pb.ListSchedulesResponse, int]:
            page = await self._schedules.list(call.caller, limit=limit, cursor=request.page_token or None)
            return page_message(page), len(page.schedules)

        return await fitting_page(limit, read)

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest, call: Call) -> pb.Schedule:
        version = request.version if request.HasField("version") else None
        change = change_from(request)
        return schedule_message(await self._schedules.update(call.caller, request.name, change, version=version))

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, call: Call) -> pb.DeleteScheduleResponse:
        await self._schedules.delete(call.caller, request.name)
        return pb.DeleteScheduleResponse()

    async def PauseSchedule(self, request: pb.PauseScheduleRequest, call: Call) -> pb.Schedule:
        return schedule_message(await self._schedules.pause(call.caller, request.name))

    async def ResumeSchedule(self, request: pb.ResumeScheduleRequest, call: Call) -> pb.Schedule:
        return schedule_message(await self._schedules.resume(call.caller, request.name))

    async def TriggerSchedule(self, request: pb.TriggerScheduleRequest, call: Call) -> tasks_pb2.SubmitTaskResponse:
        key = request.idempotency_key if request.HasField("idempotency_key") else None
        return submitted_message(await self._schedules.trigger(call.caller, request.name, idempotency_key=key))

    async def ListNextTimes(self, request: pb.ListNextTimesRequest, call: Call) -> pb.ListNextTimesResponse:
        count = request.count or _DEFAULT_TIMES
        return times_message(await self._schedules.next_times(call.caller, request.name, count=count))
