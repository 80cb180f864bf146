"""Submissions and leases for storage tests."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any
from uuid import UUID

from ops_core.domain.event import EventType, NewEvent, StepPhase
from ops_core.domain.task import NewTask, Task, TaskKind, TaskUsage
from ops_core.ports import Lease, WorkerInfo
from ops_core.storage.store import Store

USAGE = TaskUsage(steps=2, input_tokens=10, output_tokens=5, active_seconds=1.5)


_made = itertools.count()


def uuid7() -> UUID:
    """In the order of making, as the service makes them."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xFFFF << 64) & ~(3 << 62) | 7 << 76 | (next(_made) & 0xFFF) << 64 | 2 << 62
    return UUID(int=number)


def new_task(**changes: Any) -> NewTask:
    values: dict[str, Any] = {
        "id": uuid7(),
        "namespace": "default",
        "kind": TaskKind.agent,
        "agent": "assistant",
        "agent_digest": "d" * 64,
        "queue": "default",
        "priority": 5,
        "input": {"goal": "add 2 and 2"},
        "labels": {},
        "max_attempts": 3,
    }
    return NewTask(**{**values, **changes})


def lease(task: Task) -> Lease:
    return Lease(task.id, task.epoch)


async def claim(store: Store, *, limit: int = 1, queue: str = "default", lease_seconds: float = 30.0) -> list[Task]:
    return list(await store.claim(queue, limit=limit, worker_id="w1", lease_seconds=lease_seconds))


async def submit_and_claim(store: Store, *, lease_seconds: float = 30.0, **changes: Any) -> Task:
    added = await store.add_task(new_task(**changes))
    (task,) = await claim(store, queue=added.task.queue, lease_seconds=lease_seconds)
    assert task.id == added.task.id
    return task


async def event_types(store: Store, task_id: UUID) -> list[str]:
    return [str(event.type) for event in await store.list_events(task_id, after_seq=0, limit=1000)]


def step(key: str, phase: StepPhase = StepPhase.result, **payload: Any) -> NewEvent:
    kind = EventType.tool_completed if phase is StepPhase.result else EventType.tool_started
    return NewEvent(type=kind, payload=payload, step_key=key, phase=phase)


def worker(worker_id: str = "w1", **changes: Any) -> WorkerInfo:
    values: dict[str, Any] = {
        "worker_id": worker_id,
        "hostname": "here",
        "pid": 1,
        "version": "0",
        "queues": ("default",),
        "slots": 10,
        "busy": 1,
        "draining": False,
    }
    return WorkerInfo(**{**values, **changes})
