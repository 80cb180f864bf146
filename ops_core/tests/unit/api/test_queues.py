"""Queues over HTTP."""

from __future__ import annotations

import httpx2
import pytest

from ops_core.tests.fake_queues import FakeQueues, worker_serving
from ops_core.tests.unit.api.conftest import AppMaker, http
from ops_core.tests.unit.api.test_bad_input import ASK, TASKS, problem
from ops_core.wire.api_keys import read_api_keys

PATH = "/api/v1/queues"


async def submit(client: httpx2.AsyncClient, *queues: str) -> None:
    for queue in queues:
        assert (await client.post(TASKS, json={**ASK, "queue": queue})).status_code == 201


async def test_a_queue_tells_what_it_has_and_wants(client: httpx2.AsyncClient, queues: FakeQueues) -> None:
    await submit(client, "slow", "slow")
    await queues.store.run(next(iter(queues.store.tasks)))
    queues.workers = [worker_serving("slow", "default", slots=4, busy=1)]
    told = (await client.get(f"{PATH}/slow")).json()
    assert told.pop("oldest_ready_seconds") >= 0
    assert told == {
        "name": "slow",
        "ready": 1,
        "running": 1,
        "workers": 1,
        "slots": 4,
        "free": 3,
        "wanted_slots": 2,
        "wanted_slots_capped": False,
    }


async def test_a_queue_that_nobody_has_heard_of_is_an_empty_one(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"{PATH}/new")
    told = answer.json()
    assert (answer.status_code, told["wanted_slots"], told["oldest_ready_seconds"]) == (200, 0, None)


async def test_a_count_that_ended_at_its_bound_says_so(client: httpx2.AsyncClient, queues: FakeQueues) -> None:
    queues.bound = 2
    await submit(client, "slow", "slow", "slow")
    told = (await client.get(f"{PATH}/slow")).json()
    assert (told["wanted_slots"], told["wanted_slots_capped"]) == (2, True)


async def test_queues_are_listed_by_name_in_pages(client: httpx2.AsyncClient) -> None:
    await submit(client, "b", "c", "a")
    answer = await client.get(f"{PATH}?limit=2")
    first = answer.json()
    assert 'rel="next"' in answer.headers["link"]
    second = (await client.get(f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    assert [one["name"] for one in first["data"] + second["data"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("name", ["Slow", "a%20b", "a.b", "%C3%BC", "a" * 64, "a%00"])
async def test_what_cannot_be_a_queue(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.get(f"{PATH}/{name}")
    told = problem(answer, 422, "invalid_input")
    assert [one["pointer"] for one in told["errors"]] == ["/name"]
    assert "lower-case letters" in told["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "queue=slow"])
async def test_a_list_that_cannot_be_asked_for(client: httpx2.AsyncClient, query: str) -> None:
    problem(await client.get(f"{PATH}?{query}"), 422, "invalid_input")


async def test_a_malformed_cursor(client: httpx2.AsyncClient) -> None:
    problem(await client.get(f"{PATH}?cursor=garbage"), 422, "cursor_malformed")


async def test_the_key_of_a_viewer_is_enough_and_none_is_not(make: AppMaker) -> None:
    keys = read_api_keys('[{"key": "scaler-key", "subject": "scaler", "roles": ["viewer"]}]')
    async with http(make(keys=keys)) as client:
        for path in (PATH, f"{PATH}/default"):
            problem(await client.get(path), 401, "unauthenticated")
            answer = await client.get(path, headers={"Authorization": "Bearer scaler-key"})
            assert answer.status_code == 200, answer.text


async def test_a_database_that_is_away_is_told(client: httpx2.AsyncClient, queues: FakeQueues) -> None:
    queues.store.away = True
    problem(await client.get(f"{PATH}/default"), 503, "store_unavailable")
