"""gRPC health that follows the database: serving while it can be reached and has the schema this version wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from grpc_health.v1 import health, health_pb2

from ops_core.errors import StoreUnavailable
from ops_core.ports import HealthProbe
from ops_core.telemetry import LogEvent, get_logger

_INTERVAL_SECONDS = 2.0
_PROBE_SECONDS = 5.0


class HealthLoop:
    """Keeps the health of each service, and of the whole (""), as the last probe found it."""

    def __init__(
        self, *, probe: HealthProbe, service_names: Sequence[str], interval_seconds: float = _INTERVAL_SECONDS
    ) -> None:
        #: What answers the health service's calls.
        self.servicer = health.aio.HealthServicer()
        self._probe = probe
        self._service_names = ("", *service_names)
        self._interval_seconds = interval_seconds
        self._serving: bool | None = None
        self._loop: asyncio.Task[None] | None = None
        self._log = get_logger(door="grpc")

    async def start(self) -> None:
        """Probe once, then go on in the background."""
        await self.tick()
        self._loop = asyncio.create_task(self._run(), name="grpc-health")

    async def stop(self) -> None:
        """Say "not serving" from now on, whatever the database does. Safe to call twice."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        await self.servicer.enter_graceful_shutdown()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self.tick()
            except Exception as error:  # noqa: BLE001 - a loop driver: one bad probe must not freeze the health
                self._log.error(LogEvent.store_failed, exc_info=error)
                await self._set(False)

    async def tick(self) -> None:
        """Probe and set."""
        await self._set(await self._ready())

    async def _ready(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                found = await self._probe.store_health()
        except (TimeoutError, StoreUnavailable):
            return False
        return found.reachable and found.migrated

    async def _set(self, serving: bool) -> None:
        if serving is self._serving:
            return
        status = health_pb2.HealthCheckResponse
        for name in self._service_names:
            await self.servicer.set(name, status.SERVING if serving else status.NOT_SERVING)
        self._serving = serving
