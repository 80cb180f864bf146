"""The gRPC server: services, health, reflection, limits, and a stop that leaves nobody hanging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ops_core.errors import ConfigurationInvalid
from ops_core.ports import HealthProbe
from ops_core.rpc.agents import AgentServicer
from ops_core.rpc.approvals import ApprovalServicer
from ops_core.rpc.doorkeeper import Doorkeeper
from ops_core.rpc.drain import Drain
from ops_core.rpc.health import HealthLoop
from ops_core.rpc.info import InfoServicer
from ops_core.rpc.queues import QueueServicer
from ops_core.rpc.schedules import ScheduleServicer
from ops_core.rpc.tasks import TaskServicer
from ops_core.services.agents import AgentService
from ops_core.services.approvals import ApprovalService
from ops_core.services.limits import TaskLimits
from ops_core.services.queues import QueueService
from ops_core.services.schedules import ScheduleService
from ops_core.services.signals import SignalService
from ops_core.services.tasks import TaskService
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.api_keys import ApiKey
from ops_core.wire.pb.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    approvals_pb2,
    approvals_pb2_grpc,
    info_pb2,
    info_pb2_grpc,
    queues_pb2,
    queues_pb2_grpc,
    schedules_pb2,
    schedules_pb2_grpc,
    tasks_pb2,
    tasks_pb2_grpc,
)
from ops_core.wire.request_head import KeyCheck

SERVICE_NAMES = tuple(
    service.full_name
    for module in (tasks_pb2, approvals_pb2, schedules_pb2, queues_pb2, agents_pb2, info_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)

#: Calls in progress at once, watches and waits included; more are told to come back.
MAX_CALLS = 2_000

_OPTIONS = (
    # Two servers on one port would each get half of the calls; the second one is to fail instead.
    ("grpc.so_reuseport", 0),
    # A client that vanished without a word (a laptop lid, a lost route) is found out, and its watch ended.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping as often to keep a quiet watch open through proxies.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
    ("grpc.http2.max_ping_strikes", 3),
    ("grpc.max_metadata_size", 16 * 1024),
)


class RpcServer:
    """A gRPC server on one port. Make and start it within the running loop."""

    def __init__(self, *, server: grpc.aio.Server, address: str, health: HealthLoop, drain: Drain) -> None:
        self._server = server
        self._address = address
        self._health = health
        self._drain = drain
        #: The port it listens on; chosen by the system when 0 was asked for.
        self.port = 0

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ConfigurationInvalid: the address cannot be listened on.
        """
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise ConfigurationInvalid(
                f"gRPC cannot listen on {self._address}: the port is taken or the address is not of this machine. "
                "Choose another one with OPS_CORE_GRPC_PORT or OPS_CORE_HOST."
            ) from error
        await self._health.start()
        await self._server.start()
        get_logger().info(LogEvent.process_started, door="grpc", address=self._address, port=self.port)

    async def stop(self, *, grace_seconds: float = 5.0) -> None:
        """Take no new calls, end streams and waits at once, and give the others their time. Safe to call twice."""
        await self._health.stop()
        self._drain.begin()
        await self._server.stop(grace_seconds)


def make_server(
    *,
    tasks: TaskService,
    agents: AgentService,
    approvals: ApprovalService,
    signals: SignalService,
    schedules: ScheduleService,
    queues: QueueService,
    limits: TaskLimits,
    health_probe: HealthProbe,
    host: str,
    port: int,
    keys: Sequence[ApiKey],
    max_body_bytes: int,
    version: str,
    max_calls: int = MAX_CALLS,
) -> RpcServer:
    """A server with all services, not yet started. Must be called within the running loop."""
    drain = Drain()
    doorkeeper = Doorkeeper(key_check=KeyCheck(keys), drain=drain, max_calls=max_calls)
    # Larger messages are refused by grpc itself, unread, with RESOURCE_EXHAUSTED.
    options = [*_OPTIONS, ("grpc.max_receive_message_length", max_body_bytes)]
    server = grpc.aio.server(interceptors=[doorkeeper], options=options)

    # Our servicers get a Call where generated code expects grpc's context: the doorkeeper sees to it.
    task_servicer: Any = TaskServicer(tasks=tasks, signals=signals, limits=limits, drain=drain)
    approval_servicer: Any = ApprovalServicer(approvals=approvals, limits=limits)
    schedule_servicer: Any = ScheduleServicer(schedules=schedules, limits=limits)
    queue_servicer: Any = QueueServicer(queues=queues)
    agent_servicer: Any = AgentServicer(agents=agents)
    info_servicer: Any = InfoServicer(version=version, limits=limits, max_body_bytes=max_body_bytes)
    tasks_pb2_grpc.add_TaskServiceServicer_to_server(task_servicer, server)
    approvals_pb2_grpc.add_ApprovalServiceServicer_to_server(approval_servicer, server)
    schedules_pb2_grpc.add_ScheduleServiceServicer_to_server(schedule_servicer, server)
    queues_pb2_grpc.add_QueueServiceServicer_to_server(queue_servicer, server)
    agents_pb2_grpc.add_AgentServiceServicer_to_server(agent_servicer, server)
    info_pb2_grpc.add_InfoServiceServicer_to_server(info_servicer, server)

    health_loop = HealthLoop(probe=health_probe, service_names=SERVICE_NAMES)
    health_pb2_grpc.add_HealthServicer_to_server(cast(Any, health_loop.servicer), server)
    reflection.enable_server_reflection((*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return RpcServer(server=server, address=_address(host, port), health=health_loop, drain=drain)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
