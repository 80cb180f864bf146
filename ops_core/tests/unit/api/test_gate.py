from __future__ import annotations

import asyncio

import pytest

from ops_core.api.gate import LOOPBACK_HOSTS
from ops_core.tests.fakes import FakeStore
from ops_core.tests.unit.api.conftest import AppMaker, http
from ops_core.wire.api_keys import single_key

KEY = "a-key-of-some-length"
TASKS = "/api/v1/tasks"


class TestWithAKey:
    @pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
    async def test_either_header_lets_in(self, make: AppMaker, headers: dict[str, str]) -> None:
        async with http(make(keys=(single_key(KEY),))) as client:
            answer = await client.post(TASKS, json={"agent": "assistant", "goal": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["created_by"]) == (201, "api-key")

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {KEY}"},
            {"Authorization": "Bearer "},
            {"X-API-Key": KEY[:-1]},
            {"X-API-Key": ""},
        ],
    )
    async def test_anything_else_is_401(self, make: AppMaker, headers: dict[str, str], store: FakeStore) -> None:
        async with http(make(keys=(single_key(KEY),))) as client:
            answer = await client.post(TASKS, json={"agent": "assistant", "goal": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert KEY not in answer.text
        assert store.tasks == {}

    async def test_a_key_that_is_not_ascii_is_refused_and_breaks_nothing(self, make: AppMaker) -> None:
        async with http(make(keys=(single_key(KEY),))) as client:
            answer = await client.get(TASKS, headers=[(b"X-API-Key", "schlüssel".encode())])
        assert answer.status_code == 401

    async def test_every_operation_wants_it(self, make: AppMaker) -> None:
        app = make(keys=(single_key(KEY),))
        operations = [(method, path) for path, item in app.openapi()["paths"].items() for method in item]
        async with http(app) as client:
            for method, path in operations:
                answer = await client.request(method, path.format(task_id="x", name="x", approval_id="x"))
                is_open = path in ("/livez", "/readyz", "/healthz")
                assert (answer.status_code == 401) != is_open, f"{method} {path}"

    async def test_a_path_that_is_not_there_wants_it_too(self, make: AppMaker) -> None:
        async with http(make(keys=(single_key(KEY),))) as client:
            assert (await client.get("/secret")).status_code == 401

    @pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/errors/unauthenticated"])
    async def test_the_documentation_is_open(self, make: AppMaker, path: str) -> None:
        async with http(make(keys=(single_key(KEY),))) as client:
            assert (await client.get(path)).status_code == 200


class TestOnLoopbackWithoutAKey:
    @pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST"])
    async def test_names_of_this_machine_are_served(self, make: AppMaker, host: str) -> None:
        async with http(make(allowed_hosts=LOOPBACK_HOSTS)) as client:
            assert (await client.get(TASKS, headers={"Host": host})).status_code == 200

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::1", "10.0.0.1"])
    async def test_another_name_means_dns_rebinding(self, make: AppMaker, host: str) -> None:
        async with http(make(allowed_hosts=LOOPBACK_HOSTS)) as client:
            answer = await client.get(TASKS, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert "OPS_CORE_API_KEY" in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("origin", "status"),
        [("http://localhost:5173", 200), ("https://evil.example", 403), ("null", 403)],
    )
    async def test_pages_of_other_sites_may_not_call(self, make: AppMaker, origin: str, status: int) -> None:
        async with http(make(allowed_hosts=LOOPBACK_HOSTS)) as client:
            assert (await client.get(TASKS, headers={"Origin": origin})).status_code == status


class TestWhenItIsFull:
    async def test_one_more_is_told_to_come_back_and_probes_are_answered(
        self, make: AppMaker, store: FakeStore
    ) -> None:
        async with http(make(max_requests=1)) as client:
            made = (await client.post(TASKS, json={"agent": "assistant", "goal": "x"})).json()
            waiting = asyncio.create_task(client.get(f"{TASKS}/{made['id']}/wait?timeout=5"))
            assert store.nudges is not None
            async with asyncio.timeout(5):
                while store.nudges.listeners == 0:
                    await asyncio.sleep(0)
            full = await client.get(TASKS)
            assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "unavailable", "1")
            assert (await client.get("/livez")).status_code == 200
            await client.aclose()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def test_there_is_room_again_when_one_is_done(self, make: AppMaker) -> None:
        async with http(make(max_requests=1)) as client:
            for _ in range(3):
                assert (await client.get(TASKS)).status_code == 200
