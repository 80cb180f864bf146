"""Nudges across processes over PostgreSQL's LISTEN and NOTIFY, on connections of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from ops_core.ports import Nudge, NudgeKind
from ops_core.storage.nudges import LocalNudgeBus

_CHANNEL = "ops_core_nudges"
#: PostgreSQL refuses payloads of 8,000 bytes.
_MAX_PAYLOAD = 7_900
#: More than this many are dropped while PostgreSQL is away or slow: whoever waits reads again by itself.
_MAX_PENDING = 10_000
#: A pause between two NOTIFYs gathers what comes meanwhile: each one takes a lock that all commits with one share.
_PAUSE_SECONDS = 0.005
_CONNECT_SECONDS = 5


class PostgresNudgeBus:
    """Listeners of this process are told at once, those of others by NOTIFY; never in the transaction that writes."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._local = LocalNudgeBus()
        self._me = os.urandom(6).hex()
        self._pending: dict[tuple[NudgeKind, UUID], int] = {}
        self._wanted = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns at once; connects when it can, and again whenever the connection is lost."""
        await self._local.start()
        self._running = [
            asyncio.create_task(_forever(self._listen), name="nudges-listen"),
            asyncio.create_task(_forever(self._notify), name="nudges-notify"),
        ]

    async def aclose(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        await self._local.aclose()

    def send(self, nudges: Sequence[Nudge]) -> None:
        if nudges:
            self._local.send(nudges)
            self._local.call_on_loop(self._gather, tuple(nudges))

    def subscribe(self, listener: Callable[[Nudge], None]) -> Callable[[], None]:
        return self._local.subscribe(listener)

    def _gather(self, nudges: tuple[Nudge, ...]) -> None:
        """Of each kind and task the highest number is enough."""
        for nudge in nudges:
            key = (nudge.kind, nudge.task_id)
            if key in self._pending or len(self._pending) < _MAX_PENDING:
                self._pending[key] = max(nudge.seq, self._pending.get(key, 0))
        self._wanted.set()

    async def _listen(self) -> None:
        async with await _connect(self._conninfo) as connection:
            await connection.execute(f"LISTEN {_CHANNEL}".encode())
            async for notification in connection.notifies():
                sender, _, packed = notification.payload.partition(" ")
                if sender != self._me:
                    self._local.send(_unpacked(packed))

    async def _notify(self) -> None:
        async with await _connect(self._conninfo) as connection:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                pending, self._pending = self._pending, {}
                payloads = list(_packed(self._me, pending))
                async with asyncio.timeout(_CONNECT_SECONDS):
                    for payload in payloads:
                        await connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, payload))
                await asyncio.sleep(_PAUSE_SECONDS)


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """Nudges may be lost, so a lost connection is no error: begin again, ever more slowly, up to a bound."""
    pause = 0.1
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
        except (psycopg.Error, TimeoutError, OSError):
            pause = 0.1 if loop.time() - began > 10 else min(pause * 2, 5.0)
        await asyncio.sleep(pause)


async def _connect(conninfo: str) -> AsyncConnection:
    return await AsyncConnection.connect(
        conninfo,
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
        application_name="ops-core nudges",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )


def _packed(sender: str, pending: dict[tuple[NudgeKind, UUID], int]) -> Iterator[str]:
    """As few payloads as hold them all: `sender e<id>:<seq> c<id>:<seq> …`."""
    payload = sender
    for (kind, task_id), seq in pending.items():
        word = f" {kind[0]}{task_id.hex}:{seq}"
        if len(payload) + len(word) > _MAX_PAYLOAD:
            yield payload
            payload = sender
        payload += word
    if payload != sender:
        yield payload


def _unpacked(packed: str) -> list[Nudge]:
    """What it does not understand (of a newer version, or a stranger's) it leaves out."""
    nudges = []
    for word in packed.split():
        kind = _KINDS.get(word[0])
        digits, _, seq = word[1:].partition(":")
        if kind is not None and len(digits) == 32 and seq.isdecimal():
            try:
                nudges.append(Nudge(kind, UUID(digits), int(seq)))
            except ValueError:
                continue
    return nudges


_KINDS = {kind[0]: kind for kind in NudgeKind}
