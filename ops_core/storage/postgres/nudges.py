"""Nudges across processes over PostgreSQL's LISTEN and NOTIFY, on connections of their own."""

from __future__ import annotations

import asyncio
import binascii
import os
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from ops_core.domain.text import TextDelta
from ops_core.ports import Nudge, NudgeKind
from ops_core.storage.nudges import LocalNudgeBus

#: One for each kind: a process hears what somebody in it may wait for, and is not woken by the rest.
_CHANNELS = {kind: f"ops_core_nudges_{kind}" for kind in NudgeKind}
_KINDS_OF = {channel: kind for kind, channel in _CHANNELS.items()}
#: Every process hears here that somebody watches tasks. While nobody does, their events are kept to oneself: thousands
#: a second of them would be a tenth of all that a busy worker does.
_WATCHED = "ops_core_nudges_watched"
#: It is said when the first one begins to watch, and again this often.
_SAY_WATCHED_SECONDS = 1.0
#: For so long it holds; also when it may have been missed.
_WATCHED_SECONDS = 5.0
#: What was kept to oneself is told after all when somebody begins to watch: he may have looked before it happened.
_KEPT_SECONDS = 1.0
_NOTIFY = "SELECT pg_notify(channel, said) FROM unnest(%s::text[], %s::text[]) AS told (channel, said)"
#: PostgreSQL refuses payloads of 8,000 bytes.
_MAX_PAYLOAD = 7_900
#: More than this many are dropped while PostgreSQL is away or slow: whoever waits reads again by itself.
_MAX_PENDING = 10_000
#: As many characters of a model's text as surely fit one payload: four bytes each at most, a third more as base64.
_TEXT_CHARS = 1_400
#: More text than this is dropped while PostgreSQL is away or slow: whoever reads it sees the gap.
_MAX_PENDING_CHARS = 1_000_000
#: A pause between two NOTIFYs gathers what comes meanwhile: each one takes a lock that all commits with one share.
_PAUSE_SECONDS = 0.005
_CONNECT_SECONDS = 5


class PostgresNudgeBus:
    """Listeners of this process are told at once, those of others by NOTIFY; never in the transaction that writes."""

    def __init__(self, conninfo: str, hears: Collection[NudgeKind] = tuple(NudgeKind)) -> None:
        self._conninfo = conninfo
        self._hears = tuple(hears)
        self._local = LocalNudgeBus()
        self._me = os.urandom(6).hex()
        self._pending: dict[tuple[NudgeKind, UUID], int] = {}
        self._watched_until = 0.0
        #: Events that were not told, the newest last: of each task the time and the number.
        self._kept: OrderedDict[UUID, tuple[float, int]] = OrderedDict()
        self._says_watched = False
        self._said_watched_at = float("-inf")
        self._pending_texts: list[tuple[UUID, TextDelta]] = []
        self._pending_chars = 0
        self._wanted = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns at once; connects when it can, and again whenever the connection is lost."""
        await self._local.start()
        self._running = [
            asyncio.create_task(_forever(self._listen), name="nudges-listen"),
            asyncio.create_task(_forever(self._notify), name="nudges-notify"),
            asyncio.create_task(self._say_watched_again(), name="nudges-watched"),
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

    def subscribe(
        self, listener: Callable[[Nudge], None], kinds: Collection[NudgeKind] = tuple(NudgeKind)
    ) -> Callable[[], None]:
        end = self._local.subscribe(listener, kinds)
        if NudgeKind.event in kinds:
            self._local.call_on_loop(lambda _: self._say_watched(), ())
        return end

    def _gather(self, nudges: tuple[Nudge, ...]) -> None:
        """Of each kind and task the highest number is enough; of text everything counts."""
        for nudge in nudges:
            if nudge.delta is not None:
                self._gather_text(nudge.task_id, nudge.delta)
                continue
            if nudge.kind is NudgeKind.event and time.monotonic() > self._watched_until:
                self._keep(nudge)
                continue
            key = (nudge.kind, nudge.task_id)
            if key in self._pending or len(self._pending) < _MAX_PENDING:
                self._pending[key] = max(nudge.seq, self._pending.get(key, 0))
        if self._pending or self._pending_texts:
            self._wanted.set()

    def _keep(self, nudge: Nudge) -> None:
        """Events of the last moment, in case that somebody begins to watch now."""
        now = time.monotonic()
        _, seq = self._kept.pop(nudge.task_id, (now, 0))
        self._kept[nudge.task_id] = (now, max(seq, nudge.seq))
        while len(self._kept) > _MAX_PENDING or next(iter(self._kept.values()))[0] < now - _KEPT_SECONDS:
            self._kept.popitem(last=False)

    def _hear_watched(self) -> None:
        now = time.monotonic()
        is_new, self._watched_until = now > self._watched_until, now + _WATCHED_SECONDS
        if is_new:
            kept = [(id, seq) for id, (at, seq) in self._kept.items() if at > now - _KEPT_SECONDS]
            self._kept.clear()
            self._gather(tuple(Nudge(NudgeKind.event, id, seq) for id, seq in kept))

    def _say_watched(self) -> None:
        now = time.monotonic()
        if now >= self._said_watched_at + _SAY_WATCHED_SECONDS:
            self._said_watched_at, self._says_watched = now, True
            self._wanted.set()

    async def _say_watched_again(self) -> None:
        while True:
            await asyncio.sleep(_SAY_WATCHED_SECONDS)
            if self._local.is_heard(NudgeKind.event):
                self._say_watched()

    def _gather_text(self, task_id: UUID, delta: TextDelta) -> None:
        if self._pending_chars + len(delta.text) <= _MAX_PENDING_CHARS:
            self._pending_texts.append((task_id, delta))
            self._pending_chars += len(delta.text)

    async def _listen(self) -> None:
        async with await _connect(self._conninfo) as connection:
            for channel in (_WATCHED, *(_CHANNELS[kind] for kind in self._hears)):
                await connection.execute(f"LISTEN {channel}".encode())
            # Whoever has begun to watch before this was not heard.
            self._hear_watched()
            async for notification in connection.notifies():
                sender, _, packed = notification.payload.partition(" ")
                if notification.channel == _WATCHED:
                    if sender != self._me:
                        self._hear_watched()
                    continue
                # To read thousands a second that nobody waits for would cost more than all that it does.
                if sender != self._me and self._local.is_heard(_KINDS_OF[notification.channel]):
                    self._local.send(_unpacked(packed))

    async def _notify(self) -> None:
        async with await _connect(self._conninfo) as connection:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                told = [
                    (_CHANNELS[kind], payload)
                    for kind, words in self._take_pending().items()
                    for payload in _packed(self._me, words)
                ]
                if self._says_watched:
                    self._says_watched = False
                    told.append((_WATCHED, self._me))
                async with asyncio.timeout(_CONNECT_SECONDS):
                    # All in one transaction: its commit is what takes the lock.
                    await connection.execute(_NOTIFY, ([channel for channel, _ in told], [said for _, said in told]))
                await asyncio.sleep(_PAUSE_SECONDS)

    def _take_pending(self) -> dict[NudgeKind, list[str]]:
        pending, self._pending = self._pending, {}
        texts, self._pending_texts, self._pending_chars = self._pending_texts, [], 0
        words: dict[NudgeKind, list[str]] = {kind: [] for kind in NudgeKind}
        for (kind, task_id), seq in pending.items():
            words[kind].append(f"{kind[0]}{task_id.hex}:{seq}")
        words[NudgeKind.text] = [word for task_id, delta in texts for word in _words_of(task_id, delta)]
        return words


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


def _packed(sender: str, words: Sequence[str]) -> Iterator[str]:
    """As few payloads as hold them all: `sender e<id>:<seq> c<id>:<seq> …`."""
    payload = sender
    for word in words:
        if len(payload) + 1 + len(word) > _MAX_PAYLOAD:
            yield payload
            payload = sender
        payload += f" {word}"
    if payload != sender:
        yield payload


def _words_of(task_id: UUID, delta: TextDelta) -> Iterator[str]:
    """`t<id>:<epoch>:<offset>:<step key>:<text>`, the last two as base64; as many as the text is long."""
    for start in range(0, len(delta.text), _TEXT_CHARS):
        text = delta.text[start : start + _TEXT_CHARS]
        key, said = (b64encode(part.encode()).decode() for part in (delta.step_key, text))
        yield f"{NudgeKind.text[0]}{task_id.hex}:{delta.epoch}:{delta.offset + start}:{key}:{said}"


def _unpacked(packed: str) -> list[Nudge]:
    """What it does not understand (of a newer version, or a stranger's) it leaves out."""
    nudges = []
    for word in packed.split():
        try:
            nudges.append(_nudge_of(word))
        except (ValueError, KeyError, binascii.Error):
            continue
    return nudges


def _nudge_of(word: str) -> Nudge:
    """Raises:
    ValueError, KeyError: it is not understood.
    """
    kind = _KINDS[word[0]]
    digits, *rest = word[1:].split(":")
    if len(digits) != 32:
        raise ValueError(word)
    if kind is not NudgeKind.text:
        (seq,) = map(_number, rest)
        return Nudge(kind, UUID(digits), seq)
    epoch, offset, key, said = rest
    delta = TextDelta(step_key=_text(key), epoch=_number(epoch), offset=_number(offset), text=_text(said))
    return Nudge(kind, UUID(digits), delta=delta)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _text(encoded: str) -> str:
    return b64decode(encoded, validate=True).decode()


_KINDS = {kind[0]: kind for kind in NudgeKind}
