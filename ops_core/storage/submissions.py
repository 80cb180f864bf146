"""New tasks on their way into rows: what is inserted, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ops_core.domain.task import JsonObject, NewTask, Task, TaskStatus
from ops_core.errors import IdempotencyKeyReused, OpsCoreError, StoreUnavailable
from ops_core.ports import Ring
from ops_core.storage.json_text import dump_json, refuse_unstorable
from ops_core.storage.settle import rfc3339
from ops_core.storage.writes import Inserted, KnownTask, StoredJson, TaskInsert


@dataclass(frozen=True, slots=True)
class Replayed:
    """The submission was known: this task answers it."""

    id: UUID


def task_insert(new: NewTask, input: StoredJson) -> TaskInsert:
    """Raises:
    InvalidInput: a name has a character that no text column takes.
    """
    rate_key = new.rate.key if new.rate is not None else None
    refuse_unstorable(
        namespace=new.namespace,
        agent=new.agent,
        queue=new.queue,
        idempotency_key=new.idempotency_key,
        concurrency_key=new.concurrency_key,
        rate_key=rate_key,
        fairness_key=new.fairness_key,
        traceparent=new.traceparent,
        created_by=new.created_by,
        labels=None if all("\x00" not in part for pair in new.labels.items() for part in pair) else "\x00",
    )
    return TaskInsert(new, input, dump_json(new.labels), _submitted(new))


def what_became(new: NewTask, known: Sequence[KnownTask]) -> Inserted | Replayed | OpsCoreError:
    """Of a task that was passed over, since these have its id or its idempotency key."""
    for task in known:
        if task.id == new.id:
            # Ours: written before the answer was lost.
            return Inserted(task.id, task.status, task.created_at, task.deadline_at, task.blocked)
        if new.idempotency_key is not None and (task.namespace, task.idempotency_key) == _scope(new):
            if task.request_hash == new.request_hash:
                return Replayed(task.id)
            return IdempotencyKeyReused(f"the key {new.idempotency_key!r} was used for another request; choose another")
    # Passed over for a row that is gone again.
    return StoreUnavailable(f"the task {new.id} was neither added nor found; submit it again")


def ring_of_added(new: NewTask, inserted: Inserted) -> Ring | None:
    """What is to be rung for a task that was inserted; None when it cannot be claimed yet."""
    is_claimable = inserted.status is TaskStatus.queued and not inserted.blocked
    return Ring(new.queue, 1, new.id, new.traceparent) if is_claimable else None


def as_added(new: NewTask, inserted: Inserted) -> Task:
    """The task as it stands right after its insert."""
    return Task(
        id=new.id,
        namespace=new.namespace,
        kind=new.kind,
        status=inserted.status,
        agent=new.agent,
        agent_digest=new.agent_digest,
        queue=new.queue,
        priority=new.priority,
        input=new.input,
        labels=new.labels,
        attempt=0,
        max_attempts=new.max_attempts,
        crashes=0,
        round=1,
        epoch=0,
        seq=1,
        created_at=inserted.created_at,
        created_by=new.created_by,
        run_at=new.run_at,
        timeout_seconds=new.timeout_seconds,
        deadline_at=inserted.deadline_at,
        idempotency_key=new.idempotency_key,
        queue_timeout_seconds=new.queue_timeout_seconds,
        attempt_timeout_seconds=new.attempt_timeout_seconds,
        concurrency_key=new.concurrency_key,
        concurrency_limit=new.concurrency_limit,
        rate=new.rate,
        fairness_key=new.fairness_key,
        blocked=inserted.blocked,
        session_id=new.session_id,
        stream=new.stream,
        parent_id=new.parent.task_id if new.parent is not None else None,
        depth=new.depth,
        forked_from=new.forked_from,
        schedule_id=new.schedule_id,
        traceparent=new.traceparent,
    )


def _submitted(new: NewTask) -> str:
    facts: JsonObject = {"agent": new.agent, "queue": new.queue, "priority": new.priority, "labels": new.labels}
    if new.run_at is not None:
        facts["run_at"] = rfc3339(new.run_at)
    return dump_json(facts)


def _scope(new: NewTask) -> tuple[str, str | None]:
    return new.namespace, new.idempotency_key
