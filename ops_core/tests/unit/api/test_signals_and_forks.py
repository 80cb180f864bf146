"""Signals, retries from a step, forks and the family of a task over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from ops_core.domain.event import EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.tests.fakes import FakeStore
from ops_core.tests.unit.api.conftest import AppMaker, http
from ops_core.tests.unit.api.test_bad_input import ASK, TASKS, problem

STEP = NewEvent(type=EventType.llm_completed, payload={}, step_key="1/llm", phase=StepPhase.result)


@pytest.fixture
async def task_id(client: httpx2.AsyncClient) -> str:
    return str((await client.post(TASKS, json=ASK)).json()["id"])


@pytest.fixture
async def finished(task_id: str, store: FakeStore) -> str:
    """Of one step."""
    await store.run(UUID(task_id), Completed(result="4", usage=TaskUsage()), STEP)
    return task_id


class TestSignals:
    async def test_a_signal_is_kept_and_listed(self, client: httpx2.AsyncClient, task_id: str) -> None:
        answer = await client.post(f"{TASKS}/{task_id}/signals", json={"name": "paid", "payload": {"amount": 80}})
        assert answer.status_code == 201
        assert (answer.json()["name"], answer.json()["taken_by"]) == ("paid", None)
        assert (await client.get(f"{TASKS}/{task_id}/signals")).json()["data"] == [answer.json()]

    async def test_the_same_key_is_the_same_signal(self, client: httpx2.AsyncClient, task_id: str) -> None:
        key = {"Idempotency-Key": "order-42"}
        first = await client.post(f"{TASKS}/{task_id}/signals", json={"name": "paid"}, headers=key)
        again = await client.post(f"{TASKS}/{task_id}/signals", json={"name": "paid"}, headers=key)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert again.json() == first.json()

    async def test_a_finished_task_takes_none(self, client: httpx2.AsyncClient, finished: str) -> None:
        answer = await client.post(f"{TASKS}/{finished}/signals", json={"name": "paid"})
        assert "completed" in problem(answer, 409, "task_finished")["detail"]

    async def test_a_task_that_is_not_there(self, client: httpx2.AsyncClient) -> None:
        path = f"{TASKS}/{uuid4()}/signals"
        problem(await client.post(path, json={"name": "paid"}), 404, "task_not_found")
        problem(await client.get(path), 404, "task_not_found")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/name"),
            ({"name": "a b"}, "/name"),
            ({"name": 5}, "/name"),
            ({"name": "x", "payload": "y" * 65_000}, "/payload"),
            ({"name": "x", "to": "y"}, "/to"),
        ],
    )
    async def test_what_cannot_be_a_signal(
        self, make: AppMaker, task_id: str, body: dict[str, Any], pointer: str
    ) -> None:
        async with http(make(max_body_bytes=100_000)) as client:
            told = problem(await client.post(f"{TASKS}/{task_id}/signals", json=body), 422, "invalid_input")
        assert [one["pointer"] for one in told["errors"]] == [pointer]


class TestForks:
    async def test_a_fork_is_a_new_task_with_a_link(self, client: httpx2.AsyncClient, finished: str) -> None:
        body = {"from_step": 2, "instructions": "Be brief.", "input": {"goal": "else"}}
        answer = await client.post(f"{TASKS}/{finished}/fork", json=body)
        told = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (201, f"{TASKS}/{told['id']}")
        assert told["forked_from"] == {"task_id": finished, "round": 1, "before_step": 2}
        assert told["input"] == {"goal": "else"}

    async def test_the_same_key_gives_the_first_fork_again(self, client: httpx2.AsyncClient, finished: str) -> None:
        key = {"Idempotency-Key": "k"}
        first = await client.post(f"{TASKS}/{finished}/fork", json={"from_step": 1}, headers=key)
        again = await client.post(f"{TASKS}/{finished}/fork", json={"from_step": 1}, headers=key)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert again.json()["id"] == first.json()["id"]
        other = await client.post(f"{TASKS}/{finished}/fork", json={"from_step": 2}, headers=key)
        problem(other, 422, "idempotency_key_reused")

    async def test_a_step_that_is_not_there(self, client: httpx2.AsyncClient, finished: str, store: FakeStore) -> None:
        answer = await client.post(f"{TASKS}/{finished}/fork", json={"from_step": 9})
        told = problem(answer, 422, "step_not_found")
        assert [one["pointer"] for one in told["errors"]] == ["/from_step"]
        assert len(store.tasks) == 1

    async def test_only_a_finished_task_is_forked(self, client: httpx2.AsyncClient, task_id: str) -> None:
        problem(await client.post(f"{TASKS}/{task_id}/fork", json={"from_step": 1}), 409, "task_not_finished")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/from_step"),
            ({"from_step": "2"}, "/from_step"),
            ({"from_step": 0}, "/from_step"),
            ({"from_step": 1, "model": "gpt-5"}, "/model"),
            ({"from_step": 1, "model": {"base_url": "http://x"}}, "/model/base_url"),
            ({"from_step": 1, "input": []}, "/input"),
        ],
    )
    async def test_what_cannot_be_a_fork(
        self, client: httpx2.AsyncClient, finished: str, body: dict[str, Any], pointer: str
    ) -> None:
        told = problem(await client.post(f"{TASKS}/{finished}/fork", json=body), 422, "invalid_input")
        assert [one["pointer"] for one in told["errors"]] == [pointer]


class TestRetryFromAStep:
    async def test_it_is_queued_again(self, client: httpx2.AsyncClient, finished: str) -> None:
        answer = await client.post(f"{TASKS}/{finished}/retry", json={"from": "step", "step": 1})
        assert (answer.status_code, answer.json()["round"]) == (200, 2)

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"from": "step"}, "invalid_input"),
            ({"from": "journal", "step": 1}, "invalid_input"),
            ({"from": "step", "step": 0}, "invalid_input"),
            ({"from": "step", "step": 9}, "step_not_found"),
        ],
    )
    async def test_a_step_that_cannot_be_one(
        self, client: httpx2.AsyncClient, finished: str, body: dict[str, Any], code: str
    ) -> None:
        told = problem(await client.post(f"{TASKS}/{finished}/retry", json=body), 422, code)
        assert [one["pointer"] for one in told["errors"]] == ["/step"]


class TestKeys:
    async def test_keys_and_limits_come_back(self, client: httpx2.AsyncClient) -> None:
        bounds = {
            "concurrency_key": "acme",
            "concurrency_limit": 3,
            "rate": {"key": "acme", "limit": 100, "per_seconds": 60},
            "fairness_key": "acme",
            "attempt_timeout_seconds": 30,
        }
        answer = await client.post(TASKS, json={**ASK, **bounds})
        assert answer.status_code == 201
        assert answer.json()["fairness_key"] == "acme"

    @pytest.mark.parametrize(
        ("bounds", "pointer"),
        [
            ({"concurrency_key": "k" * 10_240, "concurrency_limit": 1}, "/concurrency_key"),
            ({"fairness_key": "k" * 10_240}, "/fairness_key"),
            ({"rate": {"key": "k" * 10_240, "limit": 1, "per_seconds": 1}}, "/rate/key"),
            ({"concurrency_key": "k"}, "/concurrency_limit"),
            ({"concurrency_limit": 3}, "/concurrency_key"),
            ({"rate": {"key": "k", "limit": 1}}, "/rate/per_seconds"),
        ],
    )
    async def test_a_key_of_ten_kilobytes_and_other_limits_that_cannot_be(
        self, make: AppMaker, store: FakeStore, bounds: dict[str, Any], pointer: str
    ) -> None:
        async with http(make(max_body_bytes=100_000)) as client:
            told = problem(await client.post(TASKS, json={**ASK, **bounds}), 422, "invalid_input")
        assert [one["pointer"] for one in told["errors"]] == [pointer]
        assert store.tasks == {}


async def followed(client: httpx2.AsyncClient, url: str) -> list[dict[str, Any]]:
    """All items of a list, by the links from page to page."""
    found: list[dict[str, Any]] = []
    while url:
        answer = await client.get(url)
        found += answer.json()["data"]
        url = answer.links.get("next", {}).get("url", "")
        assert bool(url) == (answer.json()["next_cursor"] is not None)
    return found


class TestPages:
    @pytest.fixture
    async def children(self, client: httpx2.AsyncClient, task_id: str, store: FakeStore) -> list[str]:
        ids = [(await client.post(TASKS, json=ASK)).json()["id"] for _ in range(5)]
        for id in map(UUID, ids):
            store.tasks[id] = replace(store.tasks[id], parent_id=UUID(task_id))
        return ids

    @pytest.fixture
    async def signals(self, client: httpx2.AsyncClient, task_id: str) -> list[str]:
        sent = [await client.post(f"{TASKS}/{task_id}/signals", json={"name": f"n{n}"}) for n in range(5)]
        return [answer.json()["id"] for answer in sent]

    @pytest.mark.parametrize("limit", [1, 2, 5, 6])
    async def test_all_children_come_page_by_page(
        self, client: httpx2.AsyncClient, task_id: str, children: list[str], limit: int
    ) -> None:
        found = await followed(client, f"{TASKS}/{task_id}/children?limit={limit}")
        assert [one["id"] for one in found] == children

    @pytest.mark.parametrize("limit", [1, 2, 5, 6])
    async def test_all_signals_come_page_by_page(
        self, client: httpx2.AsyncClient, task_id: str, signals: list[str], limit: int
    ) -> None:
        found = await followed(client, f"{TASKS}/{task_id}/signals?limit={limit}")
        assert [one["id"] for one in found] == signals

    @pytest.mark.parametrize("kind", ["children", "signals"])
    @pytest.mark.usefixtures("children", "signals")
    async def test_a_cursor_of_another_task_or_another_list_is_refused(
        self, client: httpx2.AsyncClient, task_id: str, kind: str
    ) -> None:
        cursor = (await client.get(f"{TASKS}/{task_id}/{kind}?limit=2")).json()["next_cursor"]
        other = (await client.post(TASKS, json=ASK)).json()["id"]
        elsewhere = {"children": "signals", "signals": "children"}[kind]
        for path in (f"{TASKS}/{other}/{kind}", f"{TASKS}/{task_id}/{elsewhere}", TASKS):
            told = problem(await client.get(path, params={"cursor": cursor}), 422, "cursor_malformed")
            assert [one["pointer"] for one in told["errors"]] == ["/cursor"]

    @pytest.mark.parametrize("kind", ["children", "signals"])
    @pytest.mark.parametrize(
        ("query", "code", "pointer"),
        [
            ("cursor=x", "cursor_malformed", "/cursor"),
            ("limit=0", "invalid_input", "/limit"),
            ("limit=1001", "invalid_input", "/limit"),
        ],
    )
    async def test_a_page_that_cannot_be(
        self, client: httpx2.AsyncClient, task_id: str, kind: str, query: str, code: str, pointer: str
    ) -> None:
        told = problem(await client.get(f"{TASKS}/{task_id}/{kind}?{query}"), 422, code)
        assert [one["pointer"] for one in told["errors"]] == [pointer]


async def test_the_family_of_a_task_that_has_none(client: httpx2.AsyncClient, task_id: str) -> None:
    assert (await client.get(f"{TASKS}/{task_id}/children")).json()["data"] == []
    assert [one["id"] for one in (await client.get(f"{TASKS}/{task_id}/ancestors")).json()["data"]] == [task_id]
    problem(await client.get(f"{TASKS}/{uuid4()}/children"), 404, "task_not_found")
    problem(await client.get(f"{TASKS}/{uuid4()}/ancestors"), 404, "task_not_found")
