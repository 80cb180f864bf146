"""Bad input, line by line: each gets problem details that say what to do, and nothing is added."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.tests.fakes import FakeStore

TASKS = "/api/v1/tasks"
ASK: dict[str, Any] = {"agent": "assistant", "goal": "What is 2 + 2?"}
JSON = {"Content-Type": "application/json"}


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The answer's problem details, checked for their form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["code"], body["status"], body["type"]) == (code, status, f"/errors/{code}")
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.url.path
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


async def refused(client: httpx2.AsyncClient, body: Any, status: int, code: str, *pointers: str) -> str:
    answer = await client.post(TASKS, json=body)
    told = problem(answer, status, code)
    assert [error["pointer"] for error in told["errors"]] == list(pointers)
    detail: str = told["detail"]
    return detail


@pytest.fixture(autouse=True)
async def nothing_is_added(store: FakeStore) -> AsyncIterator[None]:
    yield
    assert store.tasks == {}


async def test_an_unknown_agent(client: httpx2.AsyncClient) -> None:
    detail = await refused(client, {**ASK, "agent": "asistant"}, 404, "agent_not_found", "/agent")
    assert "did you mean 'assistant'" in detail


@pytest.mark.parametrize("goal", ["", "   "])
async def test_an_empty_goal(client: httpx2.AsyncClient, goal: str) -> None:
    assert "must not be empty" in await refused(client, {**ASK, "goal": goal}, 422, "invalid_input", "/goal")


async def test_a_goal_over_the_limit(client: httpx2.AsyncClient) -> None:
    detail = await refused(client, {**ASK, "goal": "x" * 1_001}, 422, "invalid_input", "/goal")
    assert "at most 1,000 characters" in detail


async def test_neither_goal_nor_input(client: httpx2.AsyncClient) -> None:
    await refused(client, {"agent": "assistant"}, 422, "invalid_input", "/goal")


async def test_both_goal_and_input(client: httpx2.AsyncClient) -> None:
    await refused(client, {**ASK, "input": {"goal": "x"}}, 422, "invalid_input", "/goal")


async def test_input_that_breaks_the_agents_schema(client: httpx2.AsyncClient) -> None:
    body = {"agent": "weather", "input": {"city": 5}}
    detail = await refused(client, body, 422, "input_schema_mismatch", "/input/city")
    assert "not of type 'string'" in detail


async def test_an_agent_whose_model_has_no_key(client: httpx2.AsyncClient) -> None:
    assert "OPENAI_API_KEY" in await refused(client, {**ASK, "agent": "paid"}, 422, "model_not_configured", "/agent")


async def test_a_body_that_says_it_is_too_large_is_refused_unread(client: httpx2.AsyncClient) -> None:
    answer = await client.post(TASKS, content=b"x" * 10_001, headers=JSON)
    assert "10,000 bytes" in problem(answer, 413, "payload_too_large")["detail"]


async def test_a_body_in_chunks_is_refused_once_it_runs_over(client: httpx2.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000
            yield b" " * 1_000

    answer = await client.post(TASKS, content=endless(), headers=JSON)
    problem(answer, 413, "payload_too_large")
    assert sent <= 12_000


@pytest.mark.parametrize("levels", [33, 900, 4_000])
async def test_a_body_that_is_too_deep(client: httpx2.AsyncClient, levels: int) -> None:
    body = b'{"agent": "assistant", "input": ' + b"[" * levels + b"]" * levels + b"}"
    answer = await client.post(TASKS, content=body, headers=JSON)
    assert "at most 32 levels" in problem(answer, 400, "malformed_request")["detail"]


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "application/xml"],
)
async def test_a_wrong_content_type(client: httpx2.AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await client.post(TASKS, content=json.dumps(ASK).encode(), headers=headers)
    assert "application/json" in problem(answer, 415, "unsupported_content_type")["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
async def test_a_body_that_is_compressed(client: httpx2.AsyncClient, encoding: str) -> None:
    headers = {**JSON, "Content-Encoding": encoding}
    answer = await client.post(TASKS, content=gzip.compress(json.dumps(ASK).encode()), headers=headers)
    assert "Content-Encoding" in problem(answer, 415, "unsupported_content_type")["detail"]


async def test_an_unknown_field(client: httpx2.AsyncClient) -> None:
    assert "spelling" in await refused(client, {**ASK, "priorty": 5}, 422, "invalid_input", "/priorty")


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7", b"null"])
async def test_a_body_that_is_no_object(client: httpx2.AsyncClient, body: bytes) -> None:
    problem(await client.post(TASKS, content=body, headers=JSON), 422, "invalid_input")


async def test_no_body_at_all(client: httpx2.AsyncClient) -> None:
    problem(await client.post(TASKS), 422, "invalid_input")


async def test_a_run_at_in_the_past(client: httpx2.AsyncClient) -> None:
    body = {**ASK, "run_at": "2020-01-01T00:00:00Z"}
    assert "in the past" in await refused(client, body, 422, "invalid_input", "/run_at")


async def test_a_run_at_without_a_zone(client: httpx2.AsyncClient) -> None:
    body = {**ASK, "run_at": "2030-01-01T00:00:00"}
    assert "time zone" in await refused(client, body, 422, "invalid_input", "/run_at")


@pytest.mark.parametrize("run_at", ["tomorrow", "2030-01-01", 1893456000, "2030-13-01T00:00:00Z"])
async def test_a_run_at_that_is_no_time(client: httpx2.AsyncClient, run_at: object) -> None:
    await refused(client, {**ASK, "run_at": run_at}, 422, "invalid_input", "/run_at")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", -1),
        ("priority", 10),
        ("priority", 5.5),
        ("priority", "5"),
        ("priority", True),
        ("priority", 10**30),
        ("timeout_seconds", 0),
        ("timeout_seconds", -1),
        ("timeout_seconds", 1e300),
        ("timeout_seconds", "30"),
        ("max_attempts", 0),
        ("max_attempts", 10**9),
    ],
)
async def test_negative_and_absurd_numbers(client: httpx2.AsyncClient, field: str, value: object) -> None:
    await refused(client, {**ASK, field: value}, 422, "invalid_input", f"/{field}")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
async def test_numbers_that_are_not_json(client: httpx2.AsyncClient, number: bytes) -> None:
    body = b'{"agent": "assistant", "input": {"goal": "x", "n": ' + number + b"}}"
    answer = await client.post(TASKS, content=body, headers=JSON)
    assert "not a JSON number" in problem(answer, 400, "malformed_request")["detail"]


async def test_numbers_that_overflow(client: httpx2.AsyncClient) -> None:
    body = b'{"agent": "assistant", "input": {"goal": "x", "n": 1e999}}'
    told = problem(await client.post(TASKS, content=body, headers=JSON), 422, "invalid_input")
    assert told["errors"][0]["pointer"] == "/input/n"


async def test_a_number_of_ten_thousand_digits(client: httpx2.AsyncClient) -> None:
    body = b'{"agent": "assistant", "priority": ' + b"9" * 9_000 + b"}"
    problem(await client.post(TASKS, content=body, headers=JSON), 400, "malformed_request")


@pytest.mark.parametrize(
    "cursor", ["garbage", "e30", "A" * 600, "%00", "eyJ2IjoxLCJhdCI6IngiLCJpZCI6IngiLCJzdW0iOiJ4In0"]
)
async def test_a_malformed_cursor(client: httpx2.AsyncClient, cursor: str) -> None:
    problem(await client.get(f"{TASKS}?cursor={cursor}"), 422, "cursor_malformed")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/wait"), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")]
)
async def test_an_unknown_task_id(client: httpx2.AsyncClient, method: str, path: str) -> None:
    problem(await client.request(method, f"{TASKS}/{uuid4()}{path}"), 404, "task_not_found")


async def test_a_task_id_that_is_none(client: httpx2.AsyncClient) -> None:
    told = problem(await client.get(f"{TASKS}/not-an-id"), 422, "invalid_input")
    assert told["errors"][0]["pointer"] == "/task_id"


async def test_an_unknown_agents_name(client: httpx2.AsyncClient) -> None:
    assert "Agents here" in problem(await client.get("/api/v1/agents/nobody"), 404, "agent_not_found")["detail"]


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b'{"agent": "\xc3\x28"}', b"{", b"", b'{"agent": "assistant",}', b"\xef\xbb\xbf{}", b"{'a': 1}"],
)
async def test_a_body_that_is_not_utf8_or_not_json(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post(TASKS, content=body, headers=JSON)
    if body:
        problem(answer, 400, "malformed_request")
    else:
        problem(answer, 422, "invalid_input")


async def test_half_a_surrogate_pair(client: httpx2.AsyncClient) -> None:
    body = b'{"agent": "assistant", "goal": "\\ud800"}'
    told = problem(await client.post(TASKS, content=body, headers=JSON), 422, "invalid_input")
    assert told["errors"][0]["pointer"] == "/goal"


async def test_the_character_nul(client: httpx2.AsyncClient) -> None:
    assert "NUL" in await refused(client, {**ASK, "goal": "a\x00b"}, 422, "invalid_input", "/goal")


async def test_a_path_that_is_not_there(client: httpx2.AsyncClient) -> None:
    assert "/docs" in problem(await client.get("/api/v2/tasks"), 404, "not_found")["detail"]


async def test_a_method_that_the_path_does_not_take(client: httpx2.AsyncClient) -> None:
    answer = await client.put(TASKS, json=ASK)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("header", ["", "ü", "k" * 256])
async def test_an_idempotency_key_that_cannot_be_one(client: httpx2.AsyncClient, header: str) -> None:
    answer = await client.post(TASKS, json=ASK, headers=[(b"Idempotency-Key", header.encode())])
    assert problem(answer, 422, "invalid_input")["errors"][0]["pointer"] == "/idempotency_key"


class TestWithATask:
    @pytest.fixture
    async def task_id(self, client: httpx2.AsyncClient, store: FakeStore) -> str:
        answer = await client.post(TASKS, json=ASK, headers={"Idempotency-Key": "used"})
        task = store.tasks[next(iter(store.tasks))]
        await store.run(task.id, Completed(result="4", usage=TaskUsage()))
        task_id: str = answer.json()["id"]
        return task_id

    @pytest.fixture(autouse=True)
    def nothing_is_added(self) -> None:
        """These begin with a task."""

    async def test_cancel_of_a_finished_task(self, client: httpx2.AsyncClient, task_id: str) -> None:
        answer = await client.post(f"{TASKS}/{task_id}/cancel")
        assert "completed" in problem(answer, 409, "task_finished")["detail"]

    async def test_the_same_idempotency_key_with_another_body(
        self, client: httpx2.AsyncClient, store: FakeStore, task_id: str
    ) -> None:
        answer = await client.post(TASKS, json={**ASK, "goal": "else"}, headers={"Idempotency-Key": "used"})
        problem(answer, 422, "idempotency_key_reused")
        assert [str(one) for one in store.tasks] == [task_id]


class TestWithoutADatabase:
    async def test_every_operation_says_try_again(self, client: httpx2.AsyncClient, store: FakeStore) -> None:
        store.away = True
        for method, path in [
            ("POST", TASKS),
            ("POST", f"{TASKS}/batch"),
            ("GET", TASKS),
            ("GET", f"{TASKS}/{uuid4()}"),
            ("POST", f"{TASKS}/{uuid4()}/cancel"),
            ("GET", "/api/v1/agents"),
        ]:
            body = {"tasks": [ASK]} if path.endswith("batch") else ASK
            answer = await client.request(method, path, json=body if method == "POST" else None)
            problem(answer, 503, "store_unavailable")
            assert answer.headers["retry-after"] == "1"
