"""What every process stands on, from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from dramatiq.broker import Broker

from ops_core.bootstrap.stop import unless_stopped
from ops_core.broker.by_url import BrokerDoorbell, make_broker, make_doorbell
from ops_core.errors import BrokerUnavailable, ConfigurationInvalid
from ops_core.ports import NudgeKind
from ops_core.services.relay import Relay
from ops_core.settings import Settings
from ops_core.storage.nudges import StartedNudgeBus, make_nudge_bus
from ops_core.storage.store import Store, open_store
from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.slots import Slots

_log = get_logger()


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


@asynccontextmanager
async def open_core(
    settings: Settings,
    stop: asyncio.Event,
    *,
    slots: Slots | None,
    hears: Collection[NudgeKind] = tuple(NudgeKind),
) -> AsyncIterator[Core]:
    """`hears`: see `make_nudge_bus`."""
    async with AsyncExitStack() as stack:
        nudges = make_nudge_bus(settings.database_url, hears)
        opening = open_store(settings.database_url, nudges=nudges, start_timeout_seconds=settings.start_timeout_seconds)
        store = await unless_stopped(opening, stop)
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
