from __future__ import annotations

import httpx2
import pytest
from fastapi import FastAPI

from ops_core.api.error_pages import EXPLANATIONS, error_kinds
from ops_core.api.errors import http_status
from ops_core.errors import OpsCoreError, StoreUnavailable
from ops_core.tests.unit.api.conftest import AppMaker, http

OURS = [kind for kind in error_kinds() if kind.__module__ == "ops_core.errors"]


@pytest.mark.parametrize("kind", OURS)
def test_every_code_has_a_status_and_an_explanation(kind: type[OpsCoreError]) -> None:
    assert 400 <= http_status(kind) < 600
    assert kind.code in EXPLANATIONS


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in OURS}) == len(OURS)


@pytest.mark.parametrize("kind", OURS)
async def test_every_code_has_its_page(client: httpx2.AsyncClient, kind: type[OpsCoreError]) -> None:
    answer = await client.get(f"/errors/{kind.code}")
    assert answer.status_code == 200
    assert kind.title.split("'")[0] in answer.text


async def test_a_code_that_is_none_has_no_page(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/errors/<script>")).status_code == 404


async def test_what_nobody_foresaw_is_answered_as_a_problem_without_its_secrets(make: AppMaker) -> None:
    app = make()

    async def broken() -> None:
        raise RuntimeError("password=hunter2")

    app.add_api_route("/broken", broken)
    async with http(app) as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert "hunter2" not in answer.text


async def test_what_a_driver_said_is_in_the_log_and_not_in_the_answer(
    make: AppMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make()

    async def broken() -> None:
        raise StoreUnavailable("the database cannot be reached: connection to server at 10.1.2.3 failed for user ops")

    app.add_api_route("/broken", broken)
    async with http(app) as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the database cannot be reached")
    assert "10.1.2.3" not in answer.text
    assert "10.1.2.3" in capsys.readouterr().out


async def test_the_clients_request_id_comes_back(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/tasks?limit=0", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-1"


@pytest.mark.parametrize("given", ["with space", "x" * 129, "a\tb"])
async def test_a_request_id_that_could_spoil_the_log_is_replaced(client: httpx2.AsyncClient, given: str) -> None:
    answer = await client.get("/livez", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] != given


async def test_a_request_leaves_one_log_line_without_its_body(app: FastAPI, capsys: pytest.CaptureFixture[str]) -> None:
    async with http(app) as client:
        await client.post("/api/v1/tasks", json={"agent": "assistant", "goal": "a secret goal"})
    printed = capsys.readouterr().out
    assert printed.count("request.served") == 1
    assert "secret" not in printed
