"""Tasks through the client: pages are followed, waits end, and nothing the server says is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import httpx2
import pytest

from ops_core.domain.task import RetryFrom, TaskStatus
from ops_core.tests.unit.client.fake_server import TASK_ID, FakeServer, event_json, task_json


def test_a_submit_sends_what_was_given_and_leaves_out_the_rest() -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    server.client().tasks.submit("assistant", input={"a": 1}, priority=0, run_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert json.loads(server.requests[0].content) == {
        "agent": "assistant",
        "input": {"a": 1},
        "priority": 0,
        "run_at": "2030-01-01T00:00:00+00:00",
    }


def test_a_list_follows_the_cursor() -> None:
    first = {"data": [task_json()] * 2, "next_cursor": "c"}
    server = FakeServer(
        httpx2.Response(200, json=first), httpx2.Response(200, json={"data": [task_json()], "next_cursor": None})
    )
    found = list(server.client().tasks.list(statuses=[TaskStatus.failed], labels={"k": "v"}))
    assert len(found) == 3
    assert server.requests[0].url.params.multi_items() == [("status", "failed"), ("label", "k:v"), ("limit", "100")]
    assert server.requests[1].url.params["cursor"] == "c"


def test_a_list_stops_at_its_limit() -> None:
    server = FakeServer(httpx2.Response(200, json={"data": [task_json()] * 2, "next_cursor": "c"}))
    assert len(list(server.client().tasks.list(limit=2))) == 2
    assert len(server.requests) == 1


def test_the_children_and_signals_of_a_task_follow_the_cursor() -> None:
    signal = {
        "id": TASK_ID,
        "task_id": TASK_ID,
        "name": "paid",
        "payload": None,
        "sent_by": "ada",
        "sent_at": "2026-11-21T05:00:00Z",
    }
    for kind, item in (("children", task_json()), ("signals", signal)):
        server = FakeServer(
            httpx2.Response(200, json={"data": [item] * 2, "next_cursor": "c"}),
            httpx2.Response(200, json={"data": [item], "next_cursor": None}),
        )
        assert len(list(getattr(server.client().tasks, kind)(UUID(TASK_ID)))) == 3
        assert [request.url.path for request in server.requests] == [f"/api/v1/tasks/{TASK_ID}/{kind}"] * 2
        assert [request.url.params.multi_items() for request in server.requests] == [
            [("limit", "100")],
            [("limit", "100"), ("cursor", "c")],
        ]


def test_waiting_goes_on_until_the_task_is_final() -> None:
    server = FakeServer(
        httpx2.Response(200, json=task_json(status="running")), httpx2.Response(200, json=task_json(status="completed"))
    )
    assert server.client().tasks.wait(UUID(TASK_ID)).status is TaskStatus.completed
    assert [request.headers["prefer"] for request in server.requests] == ["wait=30", "wait=30"]


@pytest.mark.parametrize("waiting_for", ["timer", "children"])
@pytest.mark.parametrize("timeout_seconds", [None, 600])
def test_waiting_goes_on_over_waits_that_end_by_themselves(waiting_for: str, timeout_seconds: float | None) -> None:
    server = FakeServer(
        httpx2.Response(200, json=task_json(status="waiting", waiting_for=waiting_for)),
        httpx2.Response(200, json=task_json(status="completed")),
    )
    task = server.client().tasks.wait(UUID(TASK_ID), timeout_seconds=timeout_seconds)
    assert task.status is TaskStatus.completed


@pytest.mark.parametrize("waiting_for", ["approval", "input", "signal", "something newer"])
def test_waiting_ends_where_somebody_has_to_act(waiting_for: str) -> None:
    server = FakeServer(httpx2.Response(200, json=task_json(status="waiting", waiting_for=waiting_for)))
    assert server.client().tasks.wait(UUID(TASK_ID)).status is TaskStatus.waiting


def test_waiting_ends_when_the_time_is_over() -> None:
    server = FakeServer(httpx2.Response(200, json=task_json(status="running")))
    assert server.client().tasks.wait(UUID(TASK_ID), timeout_seconds=0).status is TaskStatus.running


def test_past_events_are_read_page_by_page() -> None:
    full = {"data": [event_json(n, "llm.completed") for n in range(1, 101)], "next_after": 100}
    server = FakeServer(
        httpx2.Response(200, json=full), httpx2.Response(200, json={"data": [event_json(101, "x")], "next_after": None})
    )
    assert [event.seq for event in server.client().tasks.past_events(UUID(TASK_ID))] == list(range(1, 102))
    assert server.requests[1].url.params["after"] == "100"


def test_a_retry_says_where_from() -> None:
    server = FakeServer(httpx2.Response(200, json=task_json()))
    server.client().tasks.retry(UUID(TASK_ID), retry_from=RetryFrom.scratch)
    assert json.loads(server.requests[0].content) == {"from": "scratch"}


def test_fields_of_a_newer_server_are_kept() -> None:
    body = task_json(cost_usd=0.25)
    task = FakeServer(httpx2.Response(200, json=body)).client().tasks.get(UUID(TASK_ID))
    assert task.as_json() == body


def test_a_batch_is_one_request_that_may_be_sent_again() -> None:
    answer = httpx2.Response(201, json={"data": [task_json()] * 2, "replayed": []})
    server = FakeServer(httpx2.ConnectError("gone"), answer)
    tasks = [{"agent": "assistant", "goal": "a"}, {"agent": "assistant", "goal": "b"}]
    assert len(server.client().tasks.submit_batch(tasks)) == 2
    first, second = server.requests
    assert json.loads(second.content) == {"tasks": tasks}
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
