"""Settings to every object, built once; no globals, nothing happens at import.

One function a process. Each serves until SIGTERM or SIGINT and stops cleanly: doors first, then what they stand on.
What only some processes need and is slow to import is imported by their function: a task that runs alone starts faster
without the doors.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from dramatiq.broker import Broker

from ops_core import __version__
from ops_core.broker.by_url import BrokerDoorbell, make_broker, make_doorbell
from ops_core.domain.agent import AgentDefinition
from ops_core.domain.caller import DEFAULT_NAMESPACE
from ops_core.errors import BrokerUnavailable, ConfigurationInvalid
from ops_core.ports import NudgeBus, Retention, Ring
from ops_core.runner.build_agent import AgentBuilder
from ops_core.runner.catalog import load_catalog
from ops_core.runner.children import Children
from ops_core.runner.live_text import LiveTextHooks
from ops_core.runner.mcp_config import load_mcp_servers
from ops_core.runner.probe import check_model
from ops_core.runner.run_task import TaskRunner
from ops_core.runner.tool_catalog import load_tool_catalog
from ops_core.services.agents import AgentService
from ops_core.services.approvals import ApprovalService
from ops_core.services.firing import ScheduleFiring
from ops_core.services.housekeeper import Housekeeper
from ops_core.services.limits import TaskLimits
from ops_core.services.relay import Relay
from ops_core.services.retention import Pruner
from ops_core.services.schedules import ScheduleService
from ops_core.services.signals import SignalService
from ops_core.services.submission_check import SubmissionCheck
from ops_core.services.tasks import TaskService
from ops_core.settings import Settings, environment_of
from ops_core.storage.archive import FileArchive
from ops_core.storage.leases import open_lease_store
from ops_core.storage.nudges import StartedNudgeBus, make_nudge_bus
from ops_core.storage.store import Store, open_store
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.api_keys import ApiKey, find_caller, read_api_keys, single_key
from ops_core.worker.actors import make_worker
from ops_core.worker.host import AgentHost
from ops_core.worker.isolated_run import LOST, IsolatedRun
from ops_core.worker.isolation import Isolation
from ops_core.worker.slots import Slots

_T = TypeVar("_T")
_log = get_logger()

MCP_FILE = "mcp.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What every process stands on."""

    settings: Settings
    store: Store
    nudges: StartedNudgeBus
    #: What workers take tickets from.
    broker: Broker
    #: What rings for workers.
    doorbell: BrokerDoorbell
    relay: Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What a running embedded system can say of itself."""

    url: str
    grpc_address: str
    agents: Sequence[AgentDefinition]


async def run_api(settings: Settings) -> None:
    """Serve HTTP.

    Raises:
        ConfigurationInvalid: a setting, an agent file or the address is wrong. StoreUnavailable: no database in time.
    """
    with _stop_signal() as stop:
        async with _core(settings, stop, slots=None) as core:
            await _register_agents(core)
            async with _http(core):
                await stop.wait()
                _log.info(LogEvent.process_stopping, door="http")


async def run_rpc(settings: Settings) -> None:
    """Serve gRPC; raises as `run_api`."""
    with _stop_signal() as stop:
        async with _core(settings, stop, slots=None) as core:
            await _register_agents(core)
            async with _rpc(core):
                await stop.wait()
                _log.info(LogEvent.process_stopping, door="grpc")


async def run_worker(settings: Settings) -> None:
    """Run agents; raises as `run_api`."""
    with _stop_signal() as stop:
        slots = Slots(settings.concurrency)
        async with _core(settings, stop, slots=slots) as core, _worker(core, slots):
            await stop.wait()
            _log.info(LogEvent.process_stopping, door="worker")


async def run_isolated(settings: Settings, isolated: IsolatedRun) -> int:
    """Run one task alone, as the worker that holds its lease has ordered; returns the exit status of the process.

    Raises:
        ConfigurationInvalid, StoreUnavailable: it did not come to its task.
    """
    order = isolated.order
    async with AsyncExitStack() as stack:
        nudges = make_nudge_bus(settings.database_url)
        store = await open_store(
            settings.database_url, nudges=nudges, start_timeout_seconds=settings.start_timeout_seconds
        )
        stack.push_async_callback(store.aclose)
        stack.push_async_callback(nudges.aclose)
        await nudges.start()
        builder = _builder(settings)
        stack.push_async_callback(builder.aclose)
        task = await store.get_task(order.namespace, order.task_id)
        if task is None:
            return LOST
        runner = _runner(settings, store, nudges, builder, announce=isolated.announce)
        return await isolated.run(task, runner.run)


async def run_housekeeper(settings: Settings) -> None:
    """Do what must happen although nobody asks; raises as `run_api`."""
    with _stop_signal() as stop:
        async with _core(settings, stop, slots=None) as core, _housekeeper(core):
            await stop.wait()
            _log.info(LogEvent.process_stopping, door="housekeeper")


async def run_embedded(settings: Settings, *, on_ready: Callable[[Embedded], Awaitable[bool]]) -> None:
    """Everything in this one process, after bringing the schema up to date; raises as `run_api`.

    `on_ready` is awaited once all doors are open; when it returns False the system stops, else at a signal.
    """
    from ops_core.storage.migrations import upgrade

    await asyncio.to_thread(upgrade, settings.database_url)
    with _stop_signal() as stop:
        slots = Slots(settings.concurrency)
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(_core(settings, stop, slots=slots))
            agents = await _register_agents(core)
            await stack.enter_async_context(_housekeeper(core))
            await stack.enter_async_context(_worker(core, slots))
            grpc_address = await stack.enter_async_context(_rpc(core))
            url = await stack.enter_async_context(_http(core))
            if await _until_stopped(on_ready(Embedded(url=url, grpc_address=grpc_address, agents=agents)), stop):
                await stop.wait()
            _log.info(LogEvent.process_stopping, door="embedded")


def find_mcp_config(settings: Settings) -> Path | None:
    """The file of MCP servers: the one that is set, else `mcp.json` beside the agent files or in this folder."""
    if settings.mcp_config is not None:
        return settings.mcp_config
    places = (settings.agents_dir / MCP_FILE, Path(MCP_FILE))
    return next((place for place in places if place.is_file()), None)


@asynccontextmanager
async def _core(settings: Settings, stop: asyncio.Event, *, slots: Slots | None) -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        nudges = make_nudge_bus(settings.database_url)
        opening = open_store(settings.database_url, nudges=nudges, start_timeout_seconds=settings.start_timeout_seconds)
        store = await _unless_stopped(opening, stop)
        stack.push_async_callback(store.aclose)
        await _require_schema(store)
        stack.push_async_callback(nudges.aclose)
        await nudges.start()
        broker = make_broker(settings.broker_url, gate=slots)
        doorbell = make_doorbell(settings.broker_url, broker=broker)
        stack.push_async_callback(doorbell.aclose)
        relay = Relay(doorbell)
        await relay.start()
        stack.push_async_callback(relay.aclose)
        if slots is None:
            # Who takes tickets says so itself; who only rings would not know until there is something to ring.
            looking = asyncio.create_task(_say_if_away(doorbell), name="broker-at-start")
            stack.callback(looking.cancel)
        yield Core(settings=settings, store=store, nudges=nudges, broker=broker, doorbell=doorbell, relay=relay)


@asynccontextmanager
async def _http(core: Core) -> AsyncIterator[str]:
    """Serves HTTP while open; gives its URL."""
    from ops_core.api.app import make_app
    from ops_core.api.door import ApiConfig, ApiServices
    from ops_core.api.gate import LOOPBACK_HOSTS
    from ops_core.api.serve import serving

    settings = core.settings
    keys = _api_keys(settings)
    limits = _limits(settings)
    app = make_app(
        ApiServices(
            tasks=_task_service(core),
            agents=AgentService(agents=core.store),
            approvals=_approval_service(core),
            signals=_signal_service(core),
            schedules=_schedule_service(core),
            health=core.store,
            doorbell=core.doorbell,
        ),
        ApiConfig(
            limits=limits,
            max_body_bytes=settings.max_body_bytes,
            keys=keys,
            allowed_hosts=None if keys else LOOPBACK_HOSTS,
            probed_queue=settings.queues[0],
        ),
    )
    async with serving(app, host=settings.host, port=settings.port) as port:
        _log.info(LogEvent.process_started, door="http", address=settings.host, port=port, version=__version__)
        yield f"http://{_shown_host(settings.host)}:{port}"


@asynccontextmanager
async def _rpc(core: Core) -> AsyncIterator[str]:
    """Serves gRPC while open; gives its address."""
    from ops_core.rpc.server import make_server as make_rpc_server

    settings = core.settings
    server = make_rpc_server(
        tasks=_task_service(core),
        agents=AgentService(agents=core.store),
        approvals=_approval_service(core),
        signals=_signal_service(core),
        schedules=_schedule_service(core),
        limits=_limits(settings),
        health_probe=core.store,
        host=settings.host,
        port=settings.grpc_port,
        keys=_api_keys(settings),
        max_body_bytes=settings.max_body_bytes,
        version=__version__,
    )
    await server.start()
    try:
        yield f"{_shown_host(settings.host)}:{server.port}"
    finally:
        await server.stop()


@asynccontextmanager
async def _worker(core: Core, slots: Slots) -> AsyncIterator[None]:
    """Takes tickets and runs agents while open; drains at the end."""
    settings = core.settings
    builder = _builder(settings)
    runner = _runner(settings, core.store, core.nudges, builder, announce=core.relay.announce)
    isolation = Isolation(
        run_here=runner.run,
        write_crash=runner.write_crash,
        announce=core.relay.announce,
        command=_warden_command(settings),
        environment=environment_of(settings),
        lease_seconds=settings.lease_seconds,
        at_once=settings.isolated_runs,
    )
    host = AgentHost(
        run_store=core.store,
        lease_store_factory=lambda: open_lease_store(settings.database_url),
        run_task=isolation.run,
        relay=core.relay,
        slots=slots,
        worker_id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        queues=settings.queues,
        lease_seconds=settings.lease_seconds,
        drain_seconds=settings.drain_seconds,
        loop_stall_seconds=settings.loop_stall_seconds,
        nudges=core.nudges,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(builder.aclose)
        await host.start()
        stack.push_async_callback(host.aclose)
        stack.push_async_callback(host.drain)
        worker = make_worker(core.broker, host)
        worker.start()
        stack.push_async_callback(worker.aclose)
        _log.info(LogEvent.process_started, door="worker", queues=list(settings.queues), slots=settings.concurrency)
        yield


def _builder(settings: Settings) -> AgentBuilder:
    return AgentBuilder(
        tools=load_tool_catalog().registry,
        mcp_servers=load_mcp_servers(find_mcp_config(settings), os.environ),
        mock_delay_ms=settings.load_test_mock_agent_delay_ms,
    )


def _runner(
    settings: Settings,
    store: Store,
    nudges: NudgeBus,
    builder: AgentBuilder,
    *,
    announce: Callable[[Sequence[Ring]], None],
) -> TaskRunner:
    return TaskRunner(
        runs=store,
        agents=store,
        builder=builder,
        children=_children(settings, store),
        announce=announce,
        live=partial(LiveTextHooks, nudges=nudges, texts=store),
    )


def _warden_command(settings: Settings) -> Sequence[str]:
    """Starts a warden, which starts the run."""
    warden = [sys.executable, "-m", "ops_core.entrypoints.isolated_warden"]
    run = [sys.executable, "-m", "ops_core.entrypoints.isolated_run"]
    limits = [settings.loop_stall_seconds, settings.start_timeout_seconds]
    return [*warden, *map(str, limits), *run, str(settings.isolated_memory_mb)]


@asynccontextmanager
async def _housekeeper(core: Core) -> AsyncIterator[None]:
    settings = core.settings
    housekeeper = Housekeeper(
        core.store,
        core.doorbell,
        core.relay,
        nudges=core.nudges,
        interval_seconds=settings.housekeeper_interval_seconds,
        ring_again_seconds=settings.ring_again_seconds,
        max_crashes=settings.max_crashes,
        chores=[("fire_schedules", _firing(core).tick), *_pruner(core).chores],
    )
    await housekeeper.start()
    try:
        yield
    finally:
        await housekeeper.aclose()


async def _register_agents(core: Core) -> Sequence[AgentDefinition]:
    definitions = load_catalog(core.settings.agents_dir)
    await core.store.put_agents(DEFAULT_NAMESPACE, definitions)
    for definition in definitions:
        _log.info(LogEvent.agent_registered, agent=definition.name, digest=definition.digest[:12])
    return definitions


def _task_service(core: Core, *, model_check: Callable[[AgentDefinition], str | None] | None = None) -> TaskService:
    return TaskService(
        tasks=core.store,
        agents=core.store,
        relay=core.relay,
        nudges=core.nudges,
        limits=_limits(core.settings),
        model_check=model_check or _model_check(core.settings),
    )


def _approval_service(core: Core) -> ApprovalService:
    limits = _limits(core.settings)
    return ApprovalService(approvals=core.store, relay=core.relay, nudges=core.nudges, limits=limits)


def _signal_service(core: Core) -> SignalService:
    limits = _limits(core.settings)
    return SignalService(signals=core.store, tasks=core.store, relay=core.relay, nudges=core.nudges, limits=limits)


def _firing(core: Core) -> ScheduleFiring:
    # Whoever keeps house needs no model's key: one that is missing was told when the schedule was made, and is the
    # worker's to miss.
    return ScheduleFiring(schedules=core.store, tasks=_task_service(core, model_check=lambda _: None))


def _pruner(core: Core) -> Pruner:
    settings = core.settings
    policy = Retention(
        completed_seconds=_seconds(settings.keep_completed_days), unhappy_seconds=_seconds(settings.keep_unhappy_days)
    )
    archive = FileArchive(settings.archive_dir) if settings.archive_dir is not None else None
    return Pruner(core.store, policy=policy, archive=archive)


def _seconds(days: float | None) -> float | None:
    return days * 86_400 if days is not None else None


def _schedule_service(core: Core) -> ScheduleService:
    return ScheduleService(schedules=core.store, tasks=_task_service(core))


def _children(settings: Settings, store: Store) -> Children:
    check = SubmissionCheck(
        tasks=store,
        agents=store,
        limits=_limits(settings),
        model_check=_model_check(settings),
        clock=lambda: datetime.now(UTC),
    )
    return Children(tasks=store, agents=store, check=check, max_depth=settings.max_depth)


def _model_check(settings: Settings) -> Callable[[AgentDefinition], str | None]:
    """Under a load test no model is asked, so none needs a key."""
    return check_model if settings.load_test_mock_agent_delay_ms is None else lambda _: None


def _limits(settings: Settings) -> TaskLimits:
    return TaskLimits(
        max_goal_chars=settings.max_goal_chars,
        max_input_bytes=settings.max_body_bytes,
        max_json_depth=settings.max_json_depth,
        max_batch=settings.max_batch,
        max_wait_seconds=settings.max_wait_seconds,
    )


def _api_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """Raises:
    ConfigurationInvalid: the one key is also in the list.
    """
    listed = read_api_keys(settings.api_keys.get_secret_value()) if settings.api_keys else ()
    if settings.api_key is None:
        return listed
    key = settings.api_key.get_secret_value()
    if find_caller(listed, key) is not None:
        raise ConfigurationInvalid("OPS_CORE_API_KEY is also in the list of OPS_CORE_API_KEYS: take it out of one")
    return (single_key(key), *listed)


def _shown_host(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104  not bound here, only shown
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _say_if_away(doorbell: BrokerDoorbell) -> None:
    try:
        await doorbell.ping()
    except BrokerUnavailable as error:
        _log.warning(LogEvent.broker_lost, reason=error.detail)


async def _require_schema(store: Store) -> None:
    health = await store.store_health()
    if not health.migrated:
        raise ConfigurationInvalid(
            f"the database's schema is not this version's ({health.detail}): ops-core db upgrade"
        )


@contextmanager
def _stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; a second signal kills, as if nobody had caught it.

    The block may be left by `_Stopped`: then it ends here, and all is well.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def on_signal() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    except _Stopped:
        _log.info(LogEvent.process_stopping, reason="told to before it had started")
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Stopped(Exception):
    """The signal to stop came before the process had started."""


async def _until_stopped(action: Awaitable[bool], stop: asyncio.Event) -> bool:
    """What the action returns; False when the signal came first."""
    try:
        return await _unless_stopped(action, stop)
    except _Stopped:
        return False


async def _unless_stopped(action: Awaitable[_T], stop: asyncio.Event) -> _T:
    """What the action returns.

    Raises:
        _Stopped: the signal came first; the action has been cancelled.
    """
    acting, stopping = asyncio.ensure_future(action), asyncio.ensure_future(stop.wait())
    await asyncio.wait([acting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if acting.done():
        return acting.result()
    acting.cancel()
    await asyncio.gather(acting, return_exceptions=True)
    raise _Stopped
