"""Signals: who may send them, how large they may be, and that each is sent once."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from ops_core.domain.caller import Caller, Role
from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.errors import InvalidInput, PermissionDenied, TaskFinished, TaskNotFound, TooManySignals
from ops_core.services.limits import TaskLimits
from ops_core.services.signals import SignalRequest, SignalService
from ops_core.services.submission import Submission
from ops_core.services.tasks import TaskService
from ops_core.tests.fake_approvals import FakeSignals
from ops_core.tests.fakes import FakeNudges, FakeRelay, FakeStore

PAID = SignalRequest(name="paid", payload={"amount": 80})


@pytest.fixture
def signals(store: FakeStore, relay: FakeRelay, nudges: FakeNudges) -> SignalService:
    limits = TaskLimits(max_signals=3, max_json_depth=5)
    return SignalService(signals=FakeSignals(store), tasks=store, relay=relay, nudges=nudges, limits=limits)


@pytest.fixture
async def task_id(service: TaskService) -> UUID:
    return (await service.submit(Caller(), Submission(agent="assistant", goal="x"))).task.id


async def test_a_signal_is_kept_with_who_sent_it(signals: SignalService, task_id: UUID) -> None:
    sent = await signals.send(Caller(subject="ada"), task_id, PAID)
    assert (sent.signal.name, sent.signal.payload, sent.signal.sent_by) == ("paid", {"amount": 80}, "ada")
    page = await signals.list(Caller(), task_id, limit=10, cursor=None)
    assert (page.signals, page.next_cursor) == ([sent.signal], None)


async def test_whoever_waits_is_rung(
    signals: SignalService, task_id: UUID, relay: FakeRelay, nudges: FakeNudges
) -> None:
    before = len(relay.rings)
    await signals.send(Caller(), task_id, PAID)
    assert [ring.task_id for ring in relay.rings[before:]] == [task_id]
    assert nudges.sent[-1].task_id == task_id


async def test_the_same_key_is_the_same_signal(signals: SignalService, task_id: UUID, relay: FakeRelay) -> None:
    request = SignalRequest(name="paid", idempotency_key="order-42")
    first = await signals.send(Caller(), task_id, request)
    rung = len(relay.rings)
    again = await signals.send(Caller(), task_id, request)
    assert (again.replayed, again.signal) == (True, first.signal)
    assert len(relay.rings) == rung


async def test_a_finished_task_takes_none(signals: SignalService, task_id: UUID, store: FakeStore) -> None:
    await store.run(task_id, Completed(result="x", usage=TaskUsage()))
    with pytest.raises(TaskFinished):
        await signals.send(Caller(), task_id, PAID)


async def test_a_task_that_is_not_there(signals: SignalService) -> None:
    with pytest.raises(TaskNotFound):
        await signals.send(Caller(), uuid4(), PAID)
    with pytest.raises(TaskNotFound):
        await signals.list(Caller(), uuid4(), limit=10, cursor=None)


async def test_a_task_keeps_so_many(signals: SignalService, task_id: UUID) -> None:
    for _ in range(3):
        await signals.send(Caller(), task_id, PAID)
    with pytest.raises(TooManySignals):
        await signals.send(Caller(), task_id, PAID)


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        (SignalRequest(name=""), "/name"),
        (SignalRequest(name="a b"), "/name"),
        (SignalRequest(name="-x"), "/name"),
        (SignalRequest(name="x" * 129), "/name"),
        (SignalRequest(name="paid\n"), "/name"),
        (SignalRequest(name="x", payload="y" * 64_000), "/payload"),
        (SignalRequest(name="x", payload=[[[[[[1]]]]]]), "/payload"),
        (SignalRequest(name="x", payload={"a": ["\x00"]}), "/payload/a/0"),
        (SignalRequest(name="x", idempotency_key=""), "/idempotency_key"),
        (SignalRequest(name="x", idempotency_key="ü"), "/idempotency_key"),
    ],
)
async def test_what_cannot_be_a_signal(
    signals: SignalService, task_id: UUID, request_: SignalRequest, pointer: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await signals.send(Caller(), task_id, request_)
    assert [one.pointer for one in caught.value.problems] == [pointer]


@pytest.mark.parametrize(
    ("role", "may"),
    [(Role.admin, True), (Role.operator, True), (Role.submitter, True), (Role.approver, False), (Role.viewer, False)],
)
async def test_who_may_send_one(signals: SignalService, task_id: UUID, role: Role, may: Any) -> None:
    caller = Caller(subject="x", roles=frozenset({role}))
    if may:
        await signals.send(caller, task_id, PAID)
    else:
        with pytest.raises(PermissionDenied, match="admin, operator or submitter"):
            await signals.send(caller, task_id, PAID)
