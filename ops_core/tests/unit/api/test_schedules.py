"""Schedules over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from ops_core.tests.unit.api.test_bad_input import ASK, problem

PATH = "/api/v1/schedules"
DAILY: dict[str, Any] = {
    "name": "daily",
    "cron": "30 8 * * mon-fri",
    "timezone": "Europe/Berlin",
    "submission": {**ASK, "priority": 7},
}


@pytest.fixture
async def daily(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.post(PATH, json=DAILY)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{PATH}/daily"
    body: dict[str, Any] = answer.json()
    return body


async def test_a_schedule_comes_back_as_it_was_given(client: httpx2.AsyncClient, daily: dict[str, Any]) -> None:
    told = (await client.get(f"{PATH}/daily")).json()
    assert told == daily
    assert {name: told[name] for name in DAILY} == DAILY
    # The fakes' clock stands on a Saturday.
    assert told["next_at"] == "2026-11-23T07:30:00Z"


async def test_schedules_are_listed_by_name_in_pages(client: httpx2.AsyncClient) -> None:
    for name in ("b", "c", "a"):
        await client.post(PATH, json={**DAILY, "name": name})
    first = (await client.get(f"{PATH}?limit=2")).json()
    second = (await client.get(f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    assert [one["name"] for one in first["data"] + second["data"]] == ["a", "b", "c"]


async def test_a_change_leaves_the_rest(client: httpx2.AsyncClient, daily: dict[str, Any]) -> None:
    answer = await client.patch(f"{PATH}/daily", json={"cron": "0 9 * * *", "version": daily["version"]})
    told = answer.json()
    assert (told["cron"], told["timezone"], told["version"]) == ("0 9 * * *", "Europe/Berlin", 2)
    again = await client.patch(f"{PATH}/daily", json={"cron": "0 10 * * *", "version": daily["version"]})
    problem(again, 409, "schedule_changed")


async def test_pause_resume_trigger_next_and_delete(client: httpx2.AsyncClient, daily: dict[str, Any]) -> None:
    assert (await client.post(f"{PATH}/daily/pause")).json()["paused"] is True
    assert (await client.post(f"{PATH}/daily/resume")).json()["paused"] is False
    triggered = await client.post(f"{PATH}/daily/trigger")
    assert (triggered.status_code, triggered.json()["priority"]) == (201, 7)
    times = (await client.get(f"{PATH}/daily/next?count=2")).json()["data"]
    assert times == ["2026-11-23T07:30:00Z", "2026-11-24T07:30:00Z"]
    assert (await client.delete(f"{PATH}/daily")).status_code == 204
    problem(await client.get(f"{PATH}/daily"), 404, "schedule_not_found")


async def test_a_name_is_taken_once(client: httpx2.AsyncClient, daily: dict[str, Any]) -> None:
    problem(await client.post(PATH, json=DAILY), 409, "schedule_exists")


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"cron": "0 0 30 2 *"}, "invalid_input", "/cron"),
        ({"cron": "every day"}, "invalid_input", "/cron"),
        ({"timezone": "Europe/Berlinn"}, "invalid_input", "/timezone"),
        ({"name": "a b"}, "invalid_input", "/name"),
        ({"catch_up": "maybe"}, "invalid_input", "/catch_up"),
        ({"submission": {**ASK, "run_at": "2030-01-01T00:00:00Z"}}, "invalid_input", "/submission/run_at"),
        ({"submission": {**ASK, "priority": 12}}, "invalid_input", "/submission/priority"),
        ({"submission": {**ASK, "agent": "nobody"}}, "agent_not_found", "/submission/agent"),
        ({"submission": {"agent": "weather", "input": {}}}, "input_schema_mismatch", "/submission/input"),
        ({"submission": None}, "invalid_input", "/submission"),
    ],
)
async def test_what_cannot_be_a_schedule(
    client: httpx2.AsyncClient, changes: dict[str, Any], code: str, pointer: str
) -> None:
    answer = await client.post(PATH, json={**DAILY, **changes})
    told = problem(answer, 404 if code == "agent_not_found" else 422, code)
    assert [one["pointer"] for one in told["errors"]] == [pointer]
    assert (await client.get(PATH)).json()["data"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/trigger"),
        ("GET", "/next"),
    ],
)
async def test_a_schedule_that_is_not_there(client: httpx2.AsyncClient, method: str, path: str) -> None:
    body = {"cron": "0 9 * * *"} if method == "PATCH" else None
    answer = await client.request(method, f"{PATH}/nothing{path}", json=body)
    problem(answer, 404, "schedule_not_found")


@pytest.mark.parametrize("count", [0, 101, "x"])
async def test_so_many_times_are_told(client: httpx2.AsyncClient, daily: dict[str, Any], count: object) -> None:
    problem(await client.get(f"{PATH}/daily/next?count={count}"), 422, "invalid_input")
