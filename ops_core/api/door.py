"""What a handler has at hand: the services, and what is known of the request before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from ops_core.api.long_wait import Draining
from ops_core.domain.caller import Caller
from ops_core.ports import Doorbell, HealthProbe
from ops_core.services.agents import AgentService
from ops_core.services.approvals import ApprovalService
from ops_core.services.limits import TaskLimits
from ops_core.services.queues import QueueService
from ops_core.services.schedules import ScheduleService
from ops_core.services.signals import SignalService
from ops_core.services.tasks import TaskService
from ops_core.wire.api_keys import ApiKey

PREFIX = "/api/v1"
KEY_DESCRIPTION = "The same key with the same request gives the first answer again, and adds nothing."
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", description=KEY_DESCRIPTION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """What the HTTP door opens to."""

    tasks: TaskService
    agents: AgentService
    approvals: ApprovalService
    signals: SignalService
    schedules: ScheduleService
    queues: QueueService
    health: HealthProbe
    #: Shown by `/readyz`, not required by it; None where this process rings none.
    doorbell: Doorbell | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """Settings of the HTTP door."""

    limits: TaskLimits
    max_body_bytes: int = 1_000_000
    #: Whose keys let in; none for everybody.
    keys: tuple[ApiKey, ...] = ()
    #: Names that `Host` and `Origin` may have; None for any. `gate.LOOPBACK_HOSTS` where no key is asked for.
    allowed_hosts: frozenset[str] | None = None
    #: Queue whose tickets `/readyz` asks for to see whether the broker is there.
    probed_queue: str = "default"
    ping_seconds: float = 15.0
    #: Operations in progress at once, streams and waits included; more are told to come back.
    max_requests: int = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One request's way in."""

    caller: Caller
    traceparent: str
    services: ApiServices
    config: ApiConfig
    draining: Draining

    @property
    def tasks(self) -> TaskService:
        return self.services.tasks

    @property
    def approvals(self) -> ApprovalService:
        return self.services.approvals


def door_of(request: Request) -> Door:
    """What the request came with. `DoorDep` gives the same to a handler, at the price of FastAPI's injection."""
    app = request.app.state
    return Door(
        caller=request.state.caller,
        traceparent=request.state.traceparent,
        services=app.services,
        config=app.config,
        draining=app.draining,
    )


# Async, though it waits for nothing: FastAPI would run a plain function in a thread.
async def _door(request: Request) -> Door:
    return door_of(request)


DoorDep = Annotated[Door, Depends(_door)]


def reply(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The model as JSON. Handlers answer with it so that FastAPI does not validate a second time."""
    return Response(model.model_dump_json(), status, headers, "application/json")


def next_page(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that links to the next page, if there is one."""
    if cursor is None:
        return {}
    same = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    return {"Link": f'<{request.url.path}?{urlencode([*same, ("cursor", cursor)])}>; rel="next"'}
