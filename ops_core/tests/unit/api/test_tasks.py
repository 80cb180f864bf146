from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.tests.fakes import FakeStore

TASKS = "/api/v1/tasks"
ASK = {"agent": "assistant", "goal": "What is 2 + 2?"}
DONE = Completed(result="4", usage=TaskUsage(steps=1))


async def submitted(client: httpx2.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post(TASKS, json={**ASK, **changes})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_submitted_task_is_answered_with_201_and_its_place(client: httpx2.AsyncClient) -> None:
    answer = await client.post(TASKS, json=ASK)
    task = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{TASKS}/{task['id']}"
    assert (await client.get(answer.headers["location"])).json() == task
    assert (task["status"], task["input"], UUID(task["id"]).version) == ("queued", {"goal": ASK["goal"]}, 7)


async def test_times_are_utc_with_a_z_and_durations_are_seconds(client: httpx2.AsyncClient) -> None:
    task = await submitted(client, run_at="2026-11-21T20:00:00+09:00", timeout_seconds=90)
    assert task["run_at"] == "2026-11-21T11:00:00Z"
    assert task["created_at"].endswith("Z")
    assert task["timeout_seconds"] == 90


async def test_the_same_key_and_body_gives_the_first_task_with_200(client: httpx2.AsyncClient) -> None:
    first = await client.post(TASKS, json=ASK, headers={"Idempotency-Key": "k"})
    again = await client.post(TASKS, json=ASK, headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


async def test_a_key_in_the_body_is_the_same_as_in_the_header(client: httpx2.AsyncClient) -> None:
    await client.post(TASKS, json=ASK, headers={"Idempotency-Key": "k"})
    assert (await client.post(TASKS, json={**ASK, "idempotency_key": "k"})).status_code == 200


async def test_two_different_keys_on_one_request_are_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post(TASKS, json={**ASK, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/idempotency_key"


async def test_the_clients_trace_goes_with_the_task(client: httpx2.AsyncClient) -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await client.post(TASKS, json=ASK, headers={"traceparent": given})
    assert answer.json()["traceparent"] == given


@pytest.mark.parametrize("given", [None, "garbage", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
async def test_without_a_valid_trace_one_is_made(client: httpx2.AsyncClient, given: str | None) -> None:
    answer = await client.post(TASKS, json=ASK, headers={} if given is None else {"traceparent": given})
    version, trace_id, span_id, flags = answer.json()["traceparent"].split("-")
    assert (version, len(trace_id), len(span_id), flags) == ("00", 32, 16, "01")
    assert trace_id.strip("0")


class TestWaiting:
    @pytest.mark.parametrize(
        ("query", "headers"),
        [("?wait=4", {}), ("", {"Prefer": "wait=4"}), ("", {"Prefer": "respond-async, wait=9999"})],
    )
    async def test_submit_can_wait_for_the_result(
        self, client: httpx2.AsyncClient, store: FakeStore, query: str, headers: dict[str, str]
    ) -> None:
        asking = asyncio.create_task(client.post(TASKS + query, json=ASK, headers=headers))
        await finish_first(store)
        answer = await asking
        assert (answer.status_code, answer.json()["result"]) == (201, "4")
        assert ("preference-applied" in answer.headers) == bool(headers)

    @pytest.mark.parametrize("path", ["?wait=0.01", "/wait?timeout=0.01"])
    async def test_when_the_time_is_over_the_answer_is_the_task_as_it_is(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        task = await submitted(client)
        answer = await client.get(f"{TASKS}/{task['id']}{path}")
        assert (answer.status_code, answer.json()["status"]) == (200, "queued")

    async def test_a_wait_ends_with_the_task(self, client: httpx2.AsyncClient, store: FakeStore) -> None:
        task = await submitted(client)
        waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}/wait?timeout=5"))
        await store.run(UUID(task["id"]), DONE)
        assert (await waiting).json()["status"] == "completed"

    async def test_a_wait_ends_when_the_server_is_about_to_stop(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        task = await submitted(client)
        waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}/wait?timeout=5"))
        await asyncio.sleep(0.01)
        app.state.draining.begin()
        async with asyncio.timeout(1):
            assert (await waiting).json()["status"] == "queued"

    @pytest.mark.parametrize("path", ["?wait=-1", "?wait=6", "?wait=nan", "/wait?timeout=1e9", "/wait?timeout=soon"])
    async def test_an_absurd_time_is_refused(self, client: httpx2.AsyncClient, path: str) -> None:
        task = await submitted(client)
        assert (await client.get(f"{TASKS}/{task['id']}{path}")).status_code == 422

    async def test_nothing_is_added_when_the_time_to_wait_is_refused(
        self, client: httpx2.AsyncClient, store: FakeStore
    ) -> None:
        assert (await client.post(f"{TASKS}?wait=999", json=ASK)).status_code == 422
        assert store.tasks == {}


class TestBatch:
    async def test_tasks_are_answered_in_order(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"{TASKS}/batch", json={"tasks": [{**ASK, "goal": goal} for goal in "abc"]})
        assert answer.status_code == 201
        assert [task["input"]["goal"] for task in answer.json()["data"]] == ["a", "b", "c"]
        assert answer.json()["replayed"] == []

    async def test_one_key_makes_the_whole_batch_repeatable(self, client: httpx2.AsyncClient, store: FakeStore) -> None:
        batch = {"tasks": [ASK, ASK]}
        first = await client.post(f"{TASKS}/batch", json=batch, headers={"Idempotency-Key": "k"})
        again = await client.post(f"{TASKS}/batch", json=batch, headers={"Idempotency-Key": "k"})
        assert again.json()["data"] == first.json()["data"]
        assert again.json()["replayed"] == [task["id"] for task in first.json()["data"]]
        assert len(store.tasks) == 2

    async def test_what_is_wrong_is_named_with_its_index(self, client: httpx2.AsyncClient, store: FakeStore) -> None:
        answer = await client.post(f"{TASKS}/batch", json={"tasks": [ASK, {**ASK, "priority": 12}]})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/tasks/1/priority"
        assert store.tasks == {}

    async def test_too_many_tasks_are_refused(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"{TASKS}/batch", json={"tasks": [ASK] * 11})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


class TestList:
    async def test_the_next_page_is_linked(self, client: httpx2.AsyncClient) -> None:
        ids = [(await submitted(client, labels={"team": "a:b"}))["id"] for _ in range(5)]
        seen, url = [], f"{TASKS}?label=team:a:b&limit=2"
        while url:
            answer = await client.get(url)
            seen += [task["id"] for task in answer.json()["data"]]
            link = answer.links.get("next", {}).get("url", "")
            assert bool(link) == (answer.json()["next_cursor"] is not None)
            url = link
        assert seen == ids[::-1]

    async def test_status_may_be_repeated_or_separated_by_commas(
        self, client: httpx2.AsyncClient, store: FakeStore
    ) -> None:
        done, canceled, queued = [(await submitted(client))["id"] for _ in range(3)]
        await store.run(UUID(done), DONE)
        await client.post(f"{TASKS}/{canceled}/cancel")
        for query in ("status=completed,canceled", "status=completed&status=canceled"):
            found = (await client.get(f"{TASKS}?{query}")).json()["data"]
            assert [task["id"] for task in found] == [canceled, done]
        assert [task["id"] for task in (await client.get(f"{TASKS}?status=queued")).json()["data"]] == [queued]

    async def test_filters_narrow_together(self, client: httpx2.AsyncClient) -> None:
        task = await submitted(client, queue="slow", labels={"a": "1", "b": "2"})
        await submitted(client, queue="slow", labels={"a": "1"})
        query = f"agent=assistant&queue=slow&label=a:1&label=b:2&id_prefix={task['id'][:13]}"
        query += "&created_after=2020-01-01T00:00:00Z&created_before=2030-01-01T00:00:00Z"
        assert [one["id"] for one in (await client.get(f"{TASKS}?{query}")).json()["data"]] == [task["id"]]

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("limit=0", "/limit"),
            ("limit=201", "/limit"),
            ("limit=many", "/limit"),
            ("status=done", "/status"),
            ("label=team", "/label"),
            ("created_after=yesterday", "/created_after"),
            ("created_after=2026-01-01T00:00:00", "/created_after"),
            ("id_prefix=xyz", "/id_prefix"),
            ("cursor=garbage", "/cursor"),
            ("stauts=failed", "/stauts"),
        ],
    )
    async def test_a_wrong_query_is_refused_by_name(self, client: httpx2.AsyncClient, query: str, pointer: str) -> None:
        answer = await client.get(f"{TASKS}?{query}")
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


class TestCancelAndRetry:
    async def test_a_waiting_task_is_canceled_at_once(self, client: httpx2.AsyncClient) -> None:
        task = await submitted(client)
        assert (await client.post(f"{TASKS}/{task['id']}/cancel")).json()["status"] == "canceled"

    async def test_a_running_task_is_asked_to_stop(self, client: httpx2.AsyncClient, store: FakeStore) -> None:
        task = await submitted(client)
        await store.run(UUID(task["id"]))
        answer = (await client.post(f"{TASKS}/{task['id']}/cancel")).json()
        assert (answer["status"], answer["cancel_requested_at"] is None) == ("running", False)

    @pytest.mark.parametrize("body", [None, {}, {"from": "journal"}, {"from": "scratch"}])
    async def test_retry_starts_the_next_round(
        self, client: httpx2.AsyncClient, store: FakeStore, body: dict[str, str] | None
    ) -> None:
        task = await submitted(client)
        await store.run(UUID(task["id"]), DONE)
        answer = await client.post(f"{TASKS}/{task['id']}/retry", json=body)
        assert (answer.status_code, answer.json()["round"], answer.json()["status"]) == (200, 2, "queued")
        wanted = (body or {}).get("from", "journal")
        assert store.log[UUID(task["id"])][-1].payload["from"] == wanted

    async def test_retry_of_a_live_task_is_a_conflict(self, client: httpx2.AsyncClient) -> None:
        task = await submitted(client)
        answer = await client.post(f"{TASKS}/{task['id']}/retry")
        assert (answer.status_code, answer.json()["code"]) == (409, "task_not_finished")


async def finish_first(store: FakeStore) -> None:
    """Let the request in, then run what it submitted."""
    async with asyncio.timeout(5):
        while not store.tasks:
            await asyncio.sleep(0)
    await store.run(next(iter(store.tasks)), DONE)
