"""A real gRPC server on a port of the loopback address, real services behind it, and the ports in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio
import pytest_asyncio

from ops_core.domain.agent import AgentDefinition
from ops_core.rpc.server import RpcServer, make_server
from ops_core.services.limits import TaskLimits
from ops_core.tests.fake_approvals import FakeApprovals
from ops_core.tests.fake_queues import FakeQueues
from ops_core.tests.fakes import FakeNudges, FakeStore
from ops_core.tests.in_memory import services_over
from ops_core.wire.pb.v1 import (
    agents_pb2_grpc,
    approvals_pb2_grpc,
    info_pb2_grpc,
    queues_pb2_grpc,
    schedules_pb2_grpc,
    tasks_pb2_grpc,
)

ASSISTANT = AgentDefinition(name="assistant", description="Helps.")
TRANSLATOR = AgentDefinition(
    name="translator",
    input_schema={
        "type": "object",
        "properties": {"text": {"type": "string"}, "copies": {"type": "integer"}},
        "required": ["text"],
        "additionalProperties": False,
    },
    timeout_seconds=60.0,
)
MAX_BODY_BYTES = 100_000


@dataclass(frozen=True)
class Door:
    """A running server, and a client connected to it."""

    server: RpcServer
    store: FakeStore
    nudges: FakeNudges
    asked: FakeApprovals
    queue_store: FakeQueues
    channel: grpc.aio.Channel

    @property
    def tasks(self) -> tasks_pb2_grpc.TaskServiceAsyncStub:
        return tasks_pb2_grpc.TaskServiceStub(self.channel)

    @property
    def approvals(self) -> approvals_pb2_grpc.ApprovalServiceAsyncStub:
        return approvals_pb2_grpc.ApprovalServiceStub(self.channel)

    @property
    def schedules(self) -> schedules_pb2_grpc.ScheduleServiceAsyncStub:
        return schedules_pb2_grpc.ScheduleServiceStub(self.channel)

    @property
    def queues(self) -> queues_pb2_grpc.QueueServiceAsyncStub:
        return queues_pb2_grpc.QueueServiceStub(self.channel)

    @property
    def agents(self) -> agents_pb2_grpc.AgentServiceAsyncStub:
        return agents_pb2_grpc.AgentServiceStub(self.channel)

    @property
    def info(self) -> info_pb2_grpc.InfoServiceAsyncStub:
        return info_pb2_grpc.InfoServiceStub(self.channel)


OpenDoor = Callable[..., Awaitable[Door]]


@pytest_asyncio.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    """Starts servers, with `make_server`'s own options, and stops them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(*, limits: TaskLimits | None = None, **options: Any) -> Door:
            nudges = FakeNudges()
            store = FakeStore(nudges=nudges)
            approvals, queues = FakeApprovals(store), FakeQueues(store)
            await store.put_agents("default", [ASSISTANT, TRANSLATOR])
            limits = limits or TaskLimits()
            server = make_server(
                **{
                    **services_over(store, limits=limits, approvals=approvals, queues=queues),
                    "limits": limits,
                    "health_probe": store,
                    "host": "127.0.0.1",
                    "port": 0,
                    "keys": (),
                    "max_body_bytes": MAX_BODY_BYTES,
                    "version": "9.9.9",
                    **options,
                }
            )
            await server.start()
            stack.push_async_callback(server.stop, grace_seconds=0)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            stack.push_async_callback(cast(Callable[[], Awaitable[None]], channel.close))
            return Door(server, store, nudges, approvals, queues, channel)

        yield opened


@pytest_asyncio.fixture
async def door(open_door: OpenDoor) -> Door:
    """A server as it usually is."""
    return await open_door()
