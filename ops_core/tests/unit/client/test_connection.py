"""What the client tries again, what it does not, and what it makes of an answer."""

from __future__ import annotations

from uuid import UUID

import httpx2
import pytest

from ops_core.client import AnswerNotUnderstood, Client, ClientError, RequestRefused, ServerUnreachable
from ops_core.errors import FieldProblem
from ops_core.tests.unit.client.fake_server import TASK_ID, FakeServer, problem, task_json

UNAVAILABLE = problem(503, "store_unavailable", "The database cannot be reached.")


def test_a_submit_whose_answer_is_lost_is_sent_again_with_the_same_key() -> None:
    server = FakeServer(httpx2.ReadTimeout("lost"), UNAVAILABLE, httpx2.Response(201, json=task_json()))
    task = server.client().tasks.submit("assistant", "add")
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert (str(task.id), len(server.requests), len(keys)) == (TASK_ID, 3, 1)


def test_two_submits_have_different_keys_unless_the_caller_gives_one() -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    client = server.client()
    client.tasks.submit("assistant", "add")
    client.tasks.submit("assistant", "add")
    client.tasks.submit("assistant", "add", idempotency_key="order-42")
    first, second, third = (request.headers["idempotency-key"] for request in server.requests)
    assert first != second
    assert third == "order-42"


def test_a_cancel_whose_answer_is_lost_is_not_sent_again() -> None:
    server = FakeServer(httpx2.ReadTimeout("lost"))
    with pytest.raises(ServerUnreachable):
        server.client().tasks.cancel(UUID(TASK_ID))
    assert len(server.requests) == 1


def test_gives_up_after_a_few_tries() -> None:
    server = FakeServer(httpx2.ConnectError("refused"))
    with pytest.raises(ServerUnreachable, match="no server answers at http://server"):
        server.client().info()
    assert len(server.requests) == 4
    assert len(server.pauses) == 3


def test_the_last_problem_is_told_when_trying_again_does_not_help() -> None:
    with pytest.raises(RequestRefused) as caught:
        FakeServer(UNAVAILABLE).client().info()
    assert caught.value.code == "store_unavailable"


def test_waits_as_long_as_the_server_asks() -> None:
    busy = problem(429, "rate_limited", "Slow down.")
    busy.headers["retry-after"] = "7"
    server = FakeServer(busy, httpx2.Response(200, json={}))
    server.client().info()
    assert server.pauses == [7.0]


def test_a_problem_is_carried_whole_and_not_tried_again() -> None:
    server = FakeServer(
        problem(422, "invalid_input", "No.", errors=[{"pointer": "/priority", "detail": "too high"}], request_id="r1")
    )
    with pytest.raises(RequestRefused) as caught:
        server.client().tasks.submit("assistant", "add", priority=99)
    error = caught.value
    assert (error.status, error.code, error.detail, error.request_id) == (422, "invalid_input", "No.", "r1")
    assert error.problems == (FieldProblem("/priority", "too high"),)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(404, text="<html>nothing here"),
        httpx2.Response(200, text="<html>hello"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"id": "x"}),
        httpx2.Response(307, headers={"location": "http://elsewhere"}),
    ],
)
def test_an_answer_of_something_else_is_said_to_be_one(answer: httpx2.Response) -> None:
    with pytest.raises(AnswerNotUnderstood):
        FakeServer(answer).client().tasks.get(UUID(TASK_ID))


def test_the_key_is_sent_and_not_shown() -> None:
    server = FakeServer(httpx2.Response(200, json={}))
    client = server.client(api_key="s3cret")
    client.info()
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(client)


@pytest.mark.parametrize("url", ["http://[", "ftp://server", "server:8000"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ClientError), Client(url, sleep=lambda _: None) as client:
        client.info()
