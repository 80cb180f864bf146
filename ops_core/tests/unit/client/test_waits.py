"""Approvals, signals, forks and schedules through the client: what is harmless twice is sent until it is answered."""

from __future__ import annotations

import json
from uuid import UUID

import httpx2
import pytest

from ops_core.client import RequestRefused, ServerUnreachable
from ops_core.domain.approval import ApprovalStatus
from ops_core.tests.unit.client.fake_server import (
    APPROVAL_ID,
    TASK_ID,
    FakeServer,
    approval_json,
    problem,
    schedule_json,
    task_json,
)

TASK, APPROVAL = UUID(TASK_ID), UUID(APPROVAL_ID)


def test_a_decision_whose_answer_is_lost_is_said_again() -> None:
    server = FakeServer(httpx2.ReadError("gone"), httpx2.Response(200, json=approval_json(status="approved")))
    assert server.client().approvals.approve(APPROVAL).status == ApprovalStatus.approved
    assert [json.loads(one.content) for one in server.requests] == [{"decision": "approve"}] * 2


def test_who_was_first_is_told() -> None:
    server = FakeServer(problem(409, "approval_decided", "ada has rejected it."))
    with pytest.raises(RequestRefused, match="ada") as caught:
        server.client().approvals.approve(APPROVAL)
    assert caught.value.code == "approval_decided"


def test_a_list_of_approvals_follows_the_cursor() -> None:
    first = {"data": [approval_json()], "next_cursor": "c"}
    last = {"data": [approval_json()], "next_cursor": None}
    server = FakeServer(httpx2.Response(200, json=first), httpx2.Response(200, json=last))
    found = list(server.client().approvals.list(statuses=[ApprovalStatus.pending], mine=True, task_id=TASK))
    assert len(found) == 2
    assert server.requests[1].url.params["cursor"] == "c"
    assert server.requests[1].url.params["mine"] == "true"


def test_a_signal_gets_a_key_so_that_it_is_sent_once() -> None:
    body = {"id": APPROVAL_ID, "name": "paid", "payload": 1, "sent_by": "x"}
    server = FakeServer(httpx2.ReadError("gone"), httpx2.Response(201, json=body))
    assert server.client().tasks.signal(TASK, "paid", 1).name == "paid"
    first, second = server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_fork_gets_a_key_so_that_it_is_made_once() -> None:
    server = FakeServer(httpx2.ReadError("gone"), httpx2.Response(201, json=task_json()))
    server.client().tasks.fork(TASK, from_step=2, model={"name": "m"})
    first, second = server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert json.loads(first.content) == {"from_step": 2, "model": {"name": "m"}}


def test_a_new_schedule_is_not_sent_twice() -> None:
    server = FakeServer(httpx2.ReadError("gone"))
    with pytest.raises(ServerUnreachable):
        server.client().schedules.create("a", "* * * * *", {"agent": "assistant", "goal": "x"})
    assert len(server.requests) == 1


def test_a_schedules_name_is_quoted_in_the_path() -> None:
    server = FakeServer(httpx2.Response(200, json=schedule_json()))
    server.client().schedules.get("a/b")
    assert server.requests[0].url.raw_path == b"/api/v1/schedules/a%2Fb"


def test_next_times_are_times() -> None:
    server = FakeServer(httpx2.Response(200, json={"data": ["2030-01-02T07:30:00Z"]}))
    (at,) = server.client().schedules.next_times("a", count=1)
    assert (at.year, at.utcoffset() is not None) == (2030, True)
