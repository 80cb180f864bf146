from __future__ import annotations

import httpx2
import pytest

from ops_core.tests.fakes import FakeDoorbell, FakeStore
from ops_core.wire.info import InfoOut


async def test_the_process_is_alive_although_the_database_is_not(client: httpx2.AsyncClient, store: FakeStore) -> None:
    store.away = True
    assert (await client.get("/livez")).text == "ok"


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
async def test_ready_means_reachable_and_migrated(client: httpx2.AsyncClient, store: FakeStore, path: str) -> None:
    assert (await client.get(path)).text == "ok"
    store.migrated = False
    answer = await client.get(path)
    assert answer.status_code == 503
    assert "db upgrade" in answer.text
    store.away = True
    assert "cannot be reached" in (await client.get(path)).text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_a_probe_may_ask_without_wanting_a_body(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


async def test_a_lost_broker_is_shown_and_not_required(client: httpx2.AsyncClient, doorbell: FakeDoorbell) -> None:
    assert (await client.get("/readyz?verbose")).text == "[+]store ok\n[+]broker ok\nready"
    doorbell.away = True
    answer = await client.get("/readyz?verbose")
    assert answer.status_code == 200
    assert "[-]broker failed" in answer.text


async def test_info_tells_version_features_and_limits(client: httpx2.AsyncClient) -> None:
    info = InfoOut.model_validate((await client.get("/api/v1/info")).json())
    assert info.api == "v1"
    assert "server-sent-events" in info.features
    assert (info.limits.max_body_bytes, info.limits.max_goal_chars) == (10_000, 1_000)


async def test_agents_are_listed_and_shown_with_the_schema_they_take(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/api/v1/agents")).json()["data"]
    assert [agent["name"] for agent in listed] == ["assistant", "paid", "weather"]
    shown = (await client.get("/api/v1/agents/assistant")).json()
    assert shown["input_schema"]["required"] == ["goal"]
