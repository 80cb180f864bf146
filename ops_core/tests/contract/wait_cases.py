"""Waits, votes and signals for storage tests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalRequest, ApprovalStatus, Decision, NewVote
from ops_core.domain.event import Event
from ops_core.domain.outcome import Suspended
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import JsonObject, Task
from ops_core.domain.wait import ApprovalWait, InputWait, SignalWait, TimerWait, Wait
from ops_core.ports import ApprovalQuery, Ended, Sent, Voted
from ops_core.storage.store import Store
from ops_core.tests.contract.store_cases import USAGE, lease, submit_and_claim, uuid7

APPROVAL, INPUT, SIGNAL, TIMER = "1/tool/1/approval", "1/tool/1/input/1", "1/tool/1/signal/1", "1/tool/1/timer/1"
ARGUMENTS = {"amount": 80, "to": "Ada"}


def request(**changes: Any) -> ApprovalRequest:
    values: dict[str, Any] = {
        "reason": ApprovalReason.tool_call,
        "message": "Refund?",
        "tool": "refund",
        "arguments": ARGUMENTS,
        "fingerprint": "f" * 64,
    }
    return ApprovalRequest(**{**values, **changes})


def approval(key: str = APPROVAL, **changes: Any) -> ApprovalWait:
    return ApprovalWait(key=key, request=request(**changes))


def question(key: str = INPUT, **changes: Any) -> InputWait:
    asked = {"reason": ApprovalReason.input_required, "tool": None, "arguments": None, "fingerprint": None, **changes}
    return InputWait(key=key, request=request(**asked))


def signal(key: str = SIGNAL, name: str = "paid", timeout_seconds: float | None = None) -> SignalWait:
    return SignalWait(key=key, name=name, timeout_seconds=timeout_seconds)


def timer(seconds: float, key: str = TIMER) -> TimerWait:
    return TimerWait(key=key, seconds=seconds)


async def suspend(store: Store, task: Task, *waits: Wait) -> Ended:
    return await store.finish(lease(task), Suspended(waits=waits, usage=USAGE))


async def waiting(store: Store, *waits: Wait, **changes: Any) -> Task:
    """A new task that waits for all this."""
    task = await submit_and_claim(store, **changes)
    await suspend(store, task, *waits)
    return await read(store, task.id)


async def read(store: Store, task_id: UUID) -> Task:
    task = await store.get_task("default", task_id)
    assert task is not None
    return task


async def events(store: Store, task_id: UUID, kind: str) -> list[Event]:
    return [e for e in await store.list_events(task_id, after_seq=0, limit=1000) if e.type == kind]


async def answers(store: Store, task_id: UUID, *, round: int = 1) -> dict[str, JsonObject]:
    """As a replay finds them, by the key of the step."""
    journal = await store.load_journal(task_id, round=round)
    return {str(e.step_key): e.payload["answer"] for e in journal if e.phase == "result"}


def vote(by: str = "ada", decision: Decision = Decision.approve, **changes: Any) -> NewVote:
    return NewVote(**{"decision": decision, "by": by, **changes})


async def cast(store: Store, asked: Approval, by: str = "ada", decision: str = "approve", **changes: Any) -> Voted:
    return await store.vote("default", asked.id, vote(by, Decision(decision), **changes), check=lambda _: None)


async def asked_of(store: Store, task: Task) -> list[Approval]:
    """What people are asked for the task, in the order of the steps."""
    found = await store.list_approvals(ApprovalQuery(namespace="default", task_id=task.id))
    return sorted(found, key=lambda one: one.step_key)


async def asked(store: Store, *, task: dict[str, Any] | None = None, **changes: Any) -> Approval:
    """An approval that a new task waits for."""
    held = await waiting(store, approval(**changes), **(task or {}))
    (one,) = await asked_of(store, held)
    assert one.status is ApprovalStatus.pending
    return one


async def send(store: Store, task: Task, name: str = "paid", *, max_kept: int = 10, **changes: Any) -> Sent:
    values: dict[str, Any] = {"id": uuid7(), "name": name, "payload": {"amount": 80}, "sent_by": "ada", **changes}
    return await store.send_signal("default", task.id, NewSignal(**values), max_kept=max_kept)
