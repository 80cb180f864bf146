"""Queues through the client."""

from __future__ import annotations

import httpx2

from ops_core.tests.unit.client.fake_server import FakeServer, queue_json


def test_a_queue_is_read() -> None:
    server = FakeServer(httpx2.Response(200, json=queue_json()))
    queue = server.client().queues.get("default")
    assert (queue.ready, queue.wanted_slots, queue.oldest_ready_seconds) == (3, 5, 1.25)
    assert server.requests[0].url.path == "/api/v1/queues/default"


def test_a_queues_name_is_quoted_in_the_path() -> None:
    server = FakeServer(httpx2.Response(200, json=queue_json()))
    server.client().queues.get("a/b")
    assert server.requests[0].url.raw_path == b"/api/v1/queues/a%2Fb"


def test_a_list_of_queues_follows_the_cursor() -> None:
    first = {"data": [queue_json(name="a")], "next_cursor": "c"}
    last = {"data": [queue_json(name="b")], "next_cursor": None}
    server = FakeServer(httpx2.Response(200, json=first), httpx2.Response(200, json=last))
    assert [queue.name for queue in server.client().queues.list()] == ["a", "b"]
    assert server.requests[1].url.params["cursor"] == "c"


def test_a_look_that_got_no_answer_is_taken_again() -> None:
    server = FakeServer(httpx2.ReadError("gone"), httpx2.Response(200, json=queue_json()))
    assert server.client().queues.get("default").name == "default"
    assert len(server.requests) == 2
