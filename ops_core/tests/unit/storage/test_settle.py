"""settle: what becomes of a held task, by the one transition table."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry
from ops_core.domain.task import TRANSITIONS, RetryFrom, TaskError, TaskStatus, TaskUsage
from ops_core.errors import IllegalTransition
from ops_core.storage import settle
from ops_core.storage.writes import HELD_NAMES, HELD_STATE, NO_JSON, Change, HeldTask

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USAGE = TaskUsage(steps=1)
BOOM = TaskError("boom", "it broke")
OUTCOMES: list[Outcome] = [
    Completed(result=1, usage=USAGE),
    Failed(error=BOOM, usage=USAGE),
    Retry(error=BOOM, delay_seconds=0, usage=USAGE),
    Retry(error=BOOM, delay_seconds=5, usage=USAGE),
    Canceled(usage=USAGE),
    HandedOver(usage=USAGE),
]


def held(status: TaskStatus, **changes: object) -> HeldTask:
    nothing = dict.fromkeys((*HELD_NAMES, *HELD_STATE))
    counters = {"attempt": 1, "crashes": 0, "suspicion": 0, "round": 1, "epoch": 3, "seq": 2, "max_attempts": 3}
    names = {
        "resuming": False,
        "id": UUID(int=1),
        "namespace": "default",
        "queue": "q",
        "status": status,
        "timeout_seconds": 9.0,
    }
    return HeldTask(**{**nothing, **counters, **names, **changes})  # type: ignore[arg-type]  # built from names


def said(change: Change, n: int) -> dict[str, object]:
    payload: dict[str, object] = json.loads(change.events[n].payload or "")
    return payload


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("cancel_at", [None, NOW])
def test_leaving_running_raises_the_epoch_ends_the_lease_and_is_in_the_table(
    outcome: Outcome, cancel_at: datetime | None
) -> None:
    before = held(TaskStatus.running, cancel_requested_at=cancel_at, lease_expires_at=NOW, claim_token=UUID(int=2))
    change = settle.ended(before, outcome, NO_JSON, NOW)
    assert (before.status, change.after.status) in TRANSITIONS
    assert change.after.epoch == before.epoch + 1
    assert (change.after.lease_expires_at, change.after.claim_token) == (None, None)
    assert (change.after.finished_at is not None) == change.after.status.is_final
    assert (change.ring is not None) == (change.after.status is TaskStatus.queued)
    assert change.after.seq == before.seq + len(change.events)
    assert said(change, -1)["epoch"] == before.epoch


def test_a_retry_is_due_after_its_pause() -> None:
    retry = Retry(error=BOOM, delay_seconds=5, usage=USAGE)
    change = settle.ended(held(TaskStatus.running), retry, NO_JSON, NOW)
    assert change.after.run_at == NOW + timedelta(seconds=5)
    assert said(change, 0)["retry_at"] == "2026-01-01T00:00:05Z"


@pytest.mark.parametrize("status", [TaskStatus.scheduled, TaskStatus.queued, TaskStatus.waiting])
def test_what_no_worker_holds_is_canceled_at_once(status: TaskStatus) -> None:
    change = settle.canceled_by(held(status), "me", NOW)
    assert isinstance(change, Change)
    assert (change.after.status, change.after.epoch) == (TaskStatus.canceled, 3)


def test_a_retry_from_the_journal_says_which_round_it_replays() -> None:
    change = settle.reopened(held(TaskStatus.failed, error="{}"), "me", RetryFrom.journal, NOW)
    assert said(change, 0)["replays_round"] == 1
    assert (change.after.round, change.after.error, change.after.deadline_at) == (2, None, NOW + timedelta(seconds=9))


@pytest.mark.parametrize("status", [s for s in TaskStatus if s.is_final])
def test_a_final_task_changes_in_no_other_way(status: TaskStatus) -> None:
    with pytest.raises(IllegalTransition):
        settle.ended(held(status), OUTCOMES[0], NO_JSON, NOW)
    with pytest.raises(IllegalTransition):
        settle.canceled_by(held(status), "me", NOW)
    with pytest.raises(IllegalTransition):
        settle.overdue(held(status, deadline_at=NOW), NOW)


def test_a_due_task_keeps_whether_it_resumes() -> None:
    assert not settle.released(held(TaskStatus.scheduled), NOW).after.resuming
    woken = settle.resumed(
        held(TaskStatus.waiting, waiting_for="timer", wake_at=NOW), "timer", ["1/tool/1/timer/1"], NOW
    )
    assert woken.after.resuming
    assert replace(woken.after, rung_at=None).waiting_for is None
    assert woken.after.rung_at == NOW
