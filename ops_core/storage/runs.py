"""Tasks as the worker that runs them needs them: claim, journal, finish; every write fenced by the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, select

from ops_core.domain.event import Event, EventType, NewEvent
from ops_core.domain.outcome import Completed, Failed, Outcome, Retry, Suspended
from ops_core.domain.task import Task, TaskStatus
from ops_core.errors import OpsCoreError, RunLost
from ops_core.ports import Ended, Lease, Nudge, NudgeBus, NudgeKind, Ring
from ops_core.storage import settle
from ops_core.storage.blobs import Blobs
from ops_core.storage.consequences import follow, written
from ops_core.storage.group_commit import GroupCommit
from ops_core.storage.journal import reopenings_of, replayed, stages
from ops_core.storage.reader import Reader
from ops_core.storage.records import event_from_record, task_from_record
from ops_core.storage.schema import task_events
from ops_core.storage.settlement import Settlement, merged, nudges_of, rings_of
from ops_core.storage.suspends import Suspend, suspend
from ops_core.storage.writes import (
    NO_JSON,
    AppendAsk,
    Appended,
    Backend,
    Change,
    ClaimAsk,
    PlainEnd,
    StoredJson,
    TaskRecord,
    Transaction,
)

#: That of a task's first claim.
_FIRST_EPOCH = 1


@dataclass(frozen=True, slots=True)
class FinishAsk:
    """How a run ends, with its result in the form of the row."""

    lease: Lease
    outcome: Outcome
    result: StoredJson
    parent_id: UUID | None = None


class SqlRunStore:
    """See `RunStore`."""

    def __init__(
        self,
        *,
        claims: GroupCommit[ClaimAsk, Sequence[TaskRecord]],
        appends: GroupCommit[AppendAsk, Appended],
        plain_ends: GroupCommit[PlainEnd, Ended | None],
        finishes: GroupCommit[FinishAsk, Ended],
        reader: Reader,
        blobs: Blobs,
    ) -> None:
        self._claims = claims
        self._appends = appends
        self._plain_ends = plain_ends
        self._finishes = finishes
        self._reader = reader
        self._blobs = blobs

    async def claim(self, queue: str, *, limit: int, worker_id: str, lease_seconds: float) -> Sequence[Task]:
        ask = ClaimAsk(queue=queue, limit=limit, worker_id=worker_id, lease_seconds=lease_seconds, token=uuid4())
        records = await self._claims.write(ask)
        inputs, results = await self._blobs.values(records, "input"), await self._blobs.values(records, "result")
        return [task_from_record(r, input=i, result=o) for r, i, o in zip(records, inputs, results, strict=True)]

    async def load_journal(self, task_id: UUID, *, round: int) -> Sequence[Event]:
        """What this round replays, see `journal`, and how it began."""
        reopened = await self._reader.rows(reopenings_of(task_id))
        found = stages(round, reopened)
        has_round = task_events.c.round.in_([stage.round for stage in found])
        steps = replayed(await self._rows(task_id, task_events.c.step_key.is_not(None), has_round), found)
        began: Sequence[dict[str, Any]] = ()
        if any(reopening["round"] == round for reopening in reopened):
            is_start = task_events.c.type == EventType.task_reopened
            began = await self._rows(task_id, is_start, task_events.c.round == round)
        rows = sorted([*steps, *began], key=lambda row: row["seq"])
        payloads = await self._blobs.values(rows, "payload")
        return [event_from_record(row, payload=payload) for row, payload in zip(rows, payloads, strict=True)]

    async def append(self, lease: Lease, event: NewEvent) -> int:
        return (await self._appends.write(await self._append_ask(lease, event))).seq

    async def finish(
        self, lease: Lease, outcome: Outcome, *, last_step: NewEvent | None = None, parent_id: UUID | None = None
    ) -> Ended:
        step = await self._append_ask(lease, last_step) if last_step is not None else None
        result = NO_JSON
        if isinstance(outcome, Completed):
            result = await self._blobs.stored_of_task(lease.task_id, outcome.result)
        ask = FinishAsk(lease, outcome, result, parent_id)
        if (plain := _plain_end(ask, step)) is not None and (ended := await self._plain_ends.write(plain)) is not None:
            return ended
        if step is not None:
            await self._appends.write(step)
        return await self._finishes.write(ask)

    async def _append_ask(self, lease: Lease, event: NewEvent) -> AppendAsk:
        return AppendAsk(
            task_id=lease.task_id,
            epoch=lease.epoch,
            type=event.type,
            step_key=event.step_key,
            phase=event.phase,
            payload=await self._blobs.stored_of_task(lease.task_id, event.payload),
        )

    async def _rows(self, task_id: UUID, *conditions: ColumnElement[bool]) -> Sequence[dict[str, Any]]:
        events = select(task_events).where(task_events.c.task_id == task_id, *conditions)
        return await self._reader.rows(events.order_by(task_events.c.seq))


class ClaimBatch:
    """The claims of one process as one statement for each queue; what it took is handed out in the order of asking."""

    def __init__(self, backend: Backend, nudges: NudgeBus) -> None:
        self._backend = backend
        self._nudges = nudges

    def key(self, item: ClaimAsk) -> UUID:
        return item.token

    async def write(self, items: Sequence[ClaimAsk]) -> Sequence[Sequence[TaskRecord]]:
        asks = [_merged(group) for group in _alike(items)]

        async def claim(tx: Transaction) -> list[Sequence[TaskRecord]]:
            return [await tx.claim_best(ask) for ask in asks]

        # Of several statements either all are committed or none: what one of them took must not be lost by the next.
        run = self._backend.autocommit if len(asks) == 1 else self._backend.transact
        return self._hand_out(items, await run(claim))

    async def write_unless_written(self, items: Sequence[ClaimAsk]) -> Sequence[Sequence[TaskRecord]]:
        asks = [_merged(group) for group in _alike(items)]

        async def find_or_claim(tx: Transaction) -> list[Sequence[TaskRecord]]:
            return [await tx.find_claimed(ask.token) or await tx.claim_best(ask) for ask in asks]

        return self._hand_out(items, await self._backend.transact(find_or_claim))

    def _hand_out(
        self, items: Sequence[ClaimAsk], claimed: Sequence[Sequence[TaskRecord]]
    ) -> Sequence[Sequence[TaskRecord]]:
        self._nudges.send([Nudge(NudgeKind.event, r["id"], r["seq"]) for records in claimed for r in records])
        shares: dict[UUID, Sequence[TaskRecord]] = {}
        for group, records in zip(_alike(items), claimed, strict=True):
            start = 0
            for ask in group:
                shares[ask.token] = records[start : start + ask.limit]
                start += ask.limit
        return [shares[item.token] for item in items]


def _alike(items: Sequence[ClaimAsk]) -> list[list[ClaimAsk]]:
    groups: dict[tuple[str, str, float], list[ClaimAsk]] = {}
    for item in items:
        groups.setdefault((item.queue, item.worker_id, item.lease_seconds), []).append(item)
    return list(groups.values())


def _merged(group: Sequence[ClaimAsk]) -> ClaimAsk:
    first = group[0]
    return ClaimAsk(
        queue=first.queue,
        limit=sum(ask.limit for ask in group),
        worker_id=first.worker_id,
        lease_seconds=first.lease_seconds,
        token=first.token,
    )


class AppendBatch:
    """Journal entries of many tasks, one of each task at a time."""

    def __init__(self, backend: Backend, nudges: NudgeBus) -> None:
        self._backend = backend
        self._nudges = nudges

    def key(self, item: AppendAsk) -> UUID:
        return item.task_id

    async def write(self, items: Sequence[AppendAsk]) -> Sequence[Appended | OpsCoreError]:
        written = await self._backend.autocommit(lambda tx: tx.append_if_held(items))
        self._nudges.send([Nudge(NudgeKind.event, id, done.seq) for id, done in written.items() if done.first])
        return [written.get(item.task_id) or _lost(item.task_id) for item in items]

    async def write_unless_written(self, items: Sequence[AppendAsk]) -> Sequence[Appended | OpsCoreError]:
        # A step's event is found by its key when it is written again; only what has no key must be looked for.
        async def find(tx: Transaction) -> dict[UUID, Appended]:
            found = {item.task_id: await tx.find_same_event(item) for item in items if item.step_key is None}
            return {id: Appended(seq, first=False) for id, seq in found.items() if seq is not None}

        found = await self._backend.autocommit(find)
        missing = [item for item in items if item.task_id not in found]
        outcomes = dict(zip((i.task_id for i in missing), await self.write(missing) if missing else (), strict=True))
        return [found.get(item.task_id) or outcomes[item.task_id] for item in items]


class PlainEndBatch:
    """Ends of many runs from which nothing follows, as one statement; None for one of which that is not so, or that is
    over: it is left as it is."""

    def __init__(self, backend: Backend, nudges: NudgeBus) -> None:
        self._backend = backend
        self._nudges = nudges

    def key(self, item: PlainEnd) -> UUID:
        return item.task_id

    async def write(self, items: Sequence[PlainEnd]) -> Sequence[Ended | None]:
        return self._ended(items, await self._backend.autocommit(lambda tx: tx.end_plain(items)))

    async def write_unless_written(self, items: Sequence[PlainEnd]) -> Sequence[Ended | None]:
        async def end_or_find(tx: Transaction) -> Mapping[UUID, int]:
            ended = dict(await tx.end_plain(items))
            for item in items:
                if item.task_id not in ended and (found := await tx.find_ending(item.task_id, item.epoch)):
                    kind, seq = found
                    if kind is item.event:
                        ended[item.task_id] = seq
            return ended

        return self._ended(items, await self._backend.transact(end_or_find))

    def _ended(self, items: Sequence[PlainEnd], ended: Mapping[UUID, int]) -> list[Ended | None]:
        self._nudges.send([Nudge(NudgeKind.event, id, seq) for id, seq in ended.items()])
        return [Ended(item.status) if item.task_id in ended else None for item in items]


class FinishBatch:
    """Ends of many runs: lock, decide, write, in one transaction."""

    def __init__(self, backend: Backend, nudges: NudgeBus) -> None:
        self._backend = backend
        self._nudges = nudges

    def key(self, item: FinishAsk) -> UUID:
        return item.lease.task_id

    async def write(self, items: Sequence[FinishAsk]) -> Sequence[Ended | OpsCoreError]:
        async def finish(tx: Transaction) -> tuple[Sequence[Change], Sequence[Ring]]:
            # Parents too, in one order with the rest: whoever locks a child first and its parent after would wait for
            # who does it the other way round.
            parents = {item.parent_id for item in items if item.parent_id is not None}
            settlement = Settlement(tx, await tx.lock([*{item.lease.task_id for item in items} | parents]))
            stopping, suspending = _apart(items)
            for item in stopping:
                _end(settlement, item)
            # What a suspend adds may have keys, and those are locked after all tasks; and what has ended may cancel it.
            await follow(settlement)
            await suspend(settlement, [one for item in suspending if (one := _end(settlement, item)) is not None])
            return await written(settlement), settlement.rings

        changes, rings = await self._backend.transact(finish)
        self._nudges.send(nudges_of(changes))
        return _answers(items, changes, rings)

    async def write_unless_written(self, items: Sequence[FinishAsk]) -> Sequence[Ended | OpsCoreError]:
        """Only who finds its lease over looks for its own ending: that of its epoch."""
        outcomes = list(await self.write(items))
        lost = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RunLost)]

        async def find(tx: Transaction) -> dict[int, tuple[EventType, int] | None]:
            return {n: await tx.find_ending(items[n].lease.task_id, items[n].lease.epoch) for n in lost}

        for n, ending in (await self._backend.autocommit(find)).items():
            if ending is not None:
                kind, seq = ending
                self._nudges.send([Nudge(NudgeKind.event, items[n].lease.task_id, seq)])
                outcomes[n] = Ended(_status_after(kind, items[n].outcome))
        return outcomes


#: What an ending event made of its task. The ring of a retry or a hand-over whose answer was lost is left to the
#: housekeeper.
_STATUS_AFTER = {
    EventType.task_completed: TaskStatus.completed,
    EventType.task_failed: TaskStatus.failed,
    EventType.task_canceled: TaskStatus.canceled,
    EventType.task_retrying: TaskStatus.scheduled,
    EventType.task_waiting: TaskStatus.waiting,
    # The epoch of its own run: what it stopped for was there already. That of a task which did wait is a later one.
    EventType.task_resumed: TaskStatus.queued,
    EventType.task_handed_over: TaskStatus.queued,
}


def _status_after(kind: EventType, asked: Outcome) -> TaskStatus:
    at_once = kind is EventType.task_retrying and isinstance(asked, Retry) and asked.delay_seconds <= 0
    return TaskStatus.queued if at_once else _STATUS_AFTER[kind]


def _plain_end(item: FinishAsk, last_step: AppendAsk | None) -> PlainEnd | None:
    """None for what has to be looked at: only the first claim's run has surely never waited."""
    if item.lease.epoch != _FIRST_EPOCH or item.parent_id is not None:
        return None
    if not isinstance(item.outcome, Completed | Failed):
        return None
    return settle.plain_end(item.lease.task_id, item.lease.epoch, item.outcome, item.result, last_step)


def _apart(items: Sequence[FinishAsk]) -> tuple[list[FinishAsk], list[FinishAsk]]:
    """Those that stop, and those that suspend their tasks."""
    suspending = [item for item in items if isinstance(item.outcome, Suspended)]
    return [item for item in items if not isinstance(item.outcome, Suspended)], suspending


def _end(settlement: Settlement, item: FinishAsk) -> Suspend | None:
    """End the task, if the run is not over; what suspends it is returned, to be done for all of them together."""
    held = settlement.held(item.lease.task_id)
    if held is None or held.status is not TaskStatus.running or held.epoch != item.lease.epoch:
        return None
    if isinstance(item.outcome, Suspended) and held.cancel_requested_at is None:
        return Suspend(held.id, item.outcome)
    settlement.change(settle.ended(held, item.outcome, item.result, settlement.now))
    return None


def _answers(
    items: Sequence[FinishAsk], changes: Sequence[Change], added: Sequence[Ring]
) -> list[Ended | OpsCoreError]:
    """What each asked for; what else has followed or was added is rung for by the first."""
    by_id = {change.after.id: change for change in changes}
    ended = {item.lease.task_id for item in items if _is_ended(by_id.get(item.lease.task_id), item)}
    rings = {id: rings_of([by_id[id]]) for id in ended}
    others = [*rings_of(change for change in changes if change.after.id not in ended), *merged(added)]
    answers: list[Ended | OpsCoreError] = []
    for item in items:
        id = item.lease.task_id
        if id not in ended:
            answers.append(_lost(id))
            continue
        answers.append(Ended(by_id[id].after.status, (*rings[id], *others)))
        others = []
    return answers


def _is_ended(change: Change | None, item: FinishAsk) -> bool:
    """Whether this item's own run was ended, and not its task changed as a consequence of another's."""
    if change is None:
        return False
    return change.before.status is TaskStatus.running and change.before.epoch == item.lease.epoch


def _lost(task_id: UUID) -> RunLost:
    return RunLost(f"the run of task {task_id} is over: its lease was taken away or it has ended")
