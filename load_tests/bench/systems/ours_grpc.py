"""Ours over gRPC, one task a call, by the generated stub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import ours
from ours import AGENT, COUNT_DONE, GRPC_PORT, IS_DONE, KEEPS, prepare, worker_commands

from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.pb.v1 import tasks_pb2_grpc as rpc

__all__ = ["COUNT_DONE", "IS_DONE", "KEEPS", "client", "prepare", "server_commands", "worker_commands"]

REQUIREMENTS = None


def server_commands() -> list[list[str]]:
    return [*ours.server_commands(), ours.command("rpc", "start")]


@asynccontextmanager
async def client() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{GRPC_PORT}") as channel:
        await channel.channel_ready()
        stub = rpc.TaskServiceStub(channel)

        async def submit() -> str:
            return str((await stub.SubmitTask(pb.SubmitTaskRequest(agent=AGENT, goal="nothing"))).task.id)

        yield submit
