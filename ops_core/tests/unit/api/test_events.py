from __future__ import annotations

import asyncio
import json
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from ops_core.domain.event import EventType, NewEvent
from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.domain.text import TextDelta
from ops_core.ports import Lease, Nudge, NudgeKind
from ops_core.tests.fakes import FakeStore
from ops_core.tests.unit.api.conftest import AppMaker, http
from ops_core.wire.events import EventOut

TASKS = "/api/v1/tasks"
STREAM = {"Accept": "text/event-stream"}
DONE = Completed(result="4", usage=TaskUsage(steps=1))


async def task_id(client: httpx2.AsyncClient) -> str:
    answer = await client.post(TASKS, json={"agent": "assistant", "goal": "What is 2 + 2?"})
    return str(answer.json()["id"])


@pytest.fixture
async def done(client: httpx2.AsyncClient, store: FakeStore) -> str:
    """Path of the events of a finished task; it has four."""
    made = await task_id(client)
    await store.run(
        UUID(made), DONE, NewEvent(type=EventType.llm_completed, payload={"text": "a\nb"}, step_key="1/llm")
    )
    return f"{TASKS}/{made}/events"


def parsed(stream: str) -> list[dict[str, str]]:
    """The messages of an event stream, comments left out."""
    blocks = [block.splitlines() for block in stream.split("\n\n") if block]
    messages = [[line for line in block if not line.startswith(":")] for block in blocks]
    return [dict(line.split(": ", 1) for line in message) for message in messages if message]


class TestList:
    async def test_pages_lead_through_the_whole_log(self, client: httpx2.AsyncClient, done: str) -> None:
        first = (await client.get(f"{done}?limit=3")).json()
        assert [event["seq"] for event in first["data"]] == [1, 2, 3]
        assert first["next_after"] == 3
        rest = (await client.get(f"{done}?limit=3&after={first['next_after']}")).json()
        assert [event["type"] for event in rest["data"]] == ["task.completed"]
        assert rest["next_after"] is None

    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "after=x", "before=1"])
    async def test_a_wrong_query_is_refused(self, client: httpx2.AsyncClient, done: str, query: str) -> None:
        assert (await client.get(f"{done}?{query}")).status_code == 422


class TestStream:
    async def test_each_event_has_its_seq_its_type_and_its_json_on_one_line(
        self, client: httpx2.AsyncClient, done: str
    ) -> None:
        answer = await client.get(done, headers=STREAM)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        preamble, *messages = parsed(answer.text)
        assert preamble == {"retry": "1000"}
        assert [message["id"] for message in messages] == ["1", "2", "3", "4"]
        assert messages[2]["event"] == "llm.completed"
        assert EventOut.model_validate_json(messages[2]["data"]).payload == {"text": "a\nb"}

    async def test_events_are_sent_as_they_are_committed(
        self, app: FastAPI, client: httpx2.AsyncClient, store: FakeStore
    ) -> None:
        made = await task_id(client)
        streaming = asyncio.create_task(client.get(f"{TASKS}/{made}/events", headers=STREAM))
        await asyncio.sleep(0.01)
        await store.run(UUID(made), DONE)
        async with asyncio.timeout(1):
            assert len(parsed((await streaming).text)) == 4

    @pytest.mark.parametrize(
        ("query", "headers"), [("", {"Last-Event-ID": "2"}), ("?after=2", {}), ("?after=0", {"Last-Event-ID": "2"})]
    )
    async def test_it_goes_on_after_the_last_event_that_was_read(
        self, client: httpx2.AsyncClient, done: str, query: str, headers: dict[str, str]
    ) -> None:
        answer = await client.get(done + query, headers={**STREAM, **headers})
        assert [message["id"] for message in parsed(answer.text)[1:]] == ["3", "4"]

    @pytest.mark.parametrize("last", ["4", "5"])
    async def test_a_finished_task_whose_last_event_was_read_answers_204(
        self, client: httpx2.AsyncClient, done: str, last: str
    ) -> None:
        answer = await client.get(done, headers={**STREAM, "Last-Event-ID": last})
        assert (answer.status_code, answer.content) == (204, b"")

    @pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30, "²"])
    async def test_an_id_that_is_none_of_ours_is_refused(
        self, client: httpx2.AsyncClient, done: str, last: str
    ) -> None:
        headers = [(b"Accept", b"text/event-stream"), (b"Last-Event-ID", last.encode())]
        assert (await client.get(done, headers=headers)).status_code == 422

    @pytest.mark.parametrize("after", ["-1", str(10**18), str(2**64)])
    async def test_a_place_that_no_log_has_is_refused(self, client: httpx2.AsyncClient, done: str, after: str) -> None:
        answer = await client.get(f"{done}?after={after}", headers=STREAM)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/after")

    async def test_an_unknown_task_is_an_error_and_not_a_stream(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get(f"{TASKS}/{UUID(int=1)}/events", headers=STREAM)
        assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")

    async def test_a_silent_stream_is_kept_alive_and_ends_when_the_server_stops(self, make: AppMaker) -> None:
        app = make(ping_seconds=0.01)
        async with http(app) as client:
            made = await task_id(client)
            streaming = asyncio.create_task(client.get(f"{TASKS}/{made}/events", headers=STREAM))
            await asyncio.sleep(0.1)
            app.state.draining.begin()
            async with asyncio.timeout(1):
                text = (await streaming).text
        assert text.count(": ping\n\n") >= 2
        assert [message["id"] for message in parsed(text)[1:]] == ["1"]

    async def test_text_comes_between_the_events_and_without_an_id(
        self, client: httpx2.AsyncClient, store: FakeStore
    ) -> None:
        body = {"agent": "assistant", "goal": "x", "stream": True}
        made = UUID((await client.post(TASKS, json=body)).json()["id"])
        task = await store.run(made)
        store.texts[made] = [TextDelta(step_key="1/llm", epoch=task.epoch, offset=0, text="So\nfar")]
        streaming = asyncio.create_task(client.get(f"{TASKS}/{made}/events", headers=STREAM))
        async with asyncio.timeout(3):
            while not store.text_reads:
                await asyncio.sleep(0.001)
        assert store.nudges is not None
        more = TextDelta(step_key="1/llm", epoch=task.epoch, offset=6, text=" and on")
        store.nudges.send([Nudge(NudgeKind.text, made, delta=more)])
        await asyncio.sleep(0.01)
        await store.finish(Lease(made, task.epoch), DONE)
        async with asyncio.timeout(3):
            messages = parsed((await streaming).text)[1:]
        assert [message.get("id") for message in messages] == ["1", "2", None, None, "3"]
        assert [message["event"] for message in messages[2:4]] == ["text", "text"]
        assert [json.loads(message["data"])["text"] for message in messages[2:4]] == ["So\nfar", " and on"]
        assert json.loads(messages[3]["data"]) == {"step_key": "1/llm", "epoch": 1, "offset": 6, "text": " and on"}

    async def test_a_lost_database_ends_the_stream_where_it_was(
        self, client: httpx2.AsyncClient, store: FakeStore
    ) -> None:
        made = await task_id(client)
        streaming = asyncio.create_task(client.get(f"{TASKS}/{made}/events", headers=STREAM))
        async with asyncio.timeout(3):
            while not store.event_reads:
                await asyncio.sleep(0)
        store.away = True
        async with asyncio.timeout(3):
            answer = await streaming
        assert [message["id"] for message in parsed(answer.text)[1:]] == ["1"]

    async def test_a_client_that_leaves_leaves_no_listener_behind(self, app: FastAPI, store: FakeStore) -> None:
        assert store.nudges is not None
        async with http(app) as client:
            made = await task_id(client)
        gone, begun = asyncio.Event(), asyncio.Event()
        request = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, object]:
            if (message := next(request, None)) is not None:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: object) -> None:
            begun.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"{TASKS}/{made}/events",
            "raw_path": b"",
            "query_string": b"",
            "headers": [(b"accept", b"text/event-stream"), (b"host", b"localhost")],
            "scheme": "http",
            "server": ("localhost", 80),
            "root_path": "",
            "http_version": "1.1",
        }
        serving = asyncio.create_task(app(scope, receive, send))
        async with asyncio.timeout(1):
            await begun.wait()
            while store.nudges.listeners == 0:
                await asyncio.sleep(0)
            gone.set()
            await serving
            while store.nudges.listeners:
                await asyncio.sleep(0)
