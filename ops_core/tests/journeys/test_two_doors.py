"""Two API processes and a gRPC process on one database: whichever door is asked, the answer is the same."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import grpc
import httpx2
import pytest

from ops_core.client.sse import ServerSentEvent, parse_events
from ops_core.tests.free_port import free_port
from ops_core.tests.journeys.system import System, until
from ops_core.wire.pb.v1 import tasks_pb2, tasks_pb2_grpc

pytestmark = pytest.mark.services

ASK = {"agent": "assistant", "goal": "What is 6 * 7?"}
STEPS = 10
SLOW = {"agent": f"charger-{STEPS}-200", "goal": "Charge for each step"}


@pytest.fixture(scope="module")
def doors(running_production: System) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """Clients of two API processes of one installation."""
    system, port = running_production, free_port()
    second = system.start("second-api", "api", "start", port=port)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert second.popen.poll() is None, second.output()[-3000:]
        try:
            return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    until(ready, seconds=60, what="the second API is ready")
    with (
        httpx2.Client(base_url=f"{system.url}/api/v1", timeout=60) as one,
        httpx2.Client(base_url=f"{url}/api/v1", timeout=60) as other,
    ):
        yield one, other
    second.kill()
    system.processes.remove(second)


Doors = tuple[httpx2.Client, httpx2.Client]


def test_one_idempotency_key_is_one_task_over_rest_and_grpc(running_production: System, doors: Doors) -> None:
    key = str(uuid4())
    over_rest = [door.post("/tasks", json=ASK, headers={"Idempotency-Key": key}) for door in doors]
    assert len({answer.json()["id"] for answer in over_rest}) == 1
    with grpc.insecure_channel(f"127.0.0.1:{running_production.grpc_port}") as channel:
        stub = tasks_pb2_grpc.TaskServiceStub(channel)
        asked = tasks_pb2.SubmitTaskRequest(agent=ASK["agent"], goal=ASK["goal"], idempotency_key=key)
        assert stub.SubmitTask(asked, timeout=30).task.id == over_rest[0].json()["id"]
        other = tasks_pb2.SubmitTaskRequest(agent=ASK["agent"], goal="Something else", idempotency_key=key)
        with pytest.raises(grpc.RpcError) as refused:
            stub.SubmitTask(other, timeout=30)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    again = doors[1].post("/tasks", json=ASK | {"goal": "Something else"}, headers={"Idempotency-Key": key})
    assert (again.status_code, again.json()["code"]) == (422, "idempotency_key_reused")


def test_the_same_key_at_both_doors_at_once_makes_one_task(doors: Doors) -> None:
    """Ten pairs, so that some of them do meet."""
    from concurrent.futures import ThreadPoolExecutor

    keys = [str(uuid4()) for _ in range(10)]
    with ThreadPoolExecutor(len(keys) * 2) as threads:
        asked = [
            threads.submit(door.post, "/tasks", json=ASK, headers={"Idempotency-Key": key})
            for key in keys
            for door in doors
        ]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["id"] for answer in answers}) == len(keys)


def test_a_list_goes_on_at_the_other_door_with_the_cursor_of_the_first(doors: Doors) -> None:
    label = f"journey:{uuid4()}"
    name, _, value = label.partition(":")
    made = [
        doors[n % 2].post("/tasks", json=ASK | {"labels": {name: value}, "queue": "nobody"}).json()["id"]
        for n in range(7)
    ]
    seen: list[str] = []
    cursor: str | None = None
    for n in range(4):
        params = {"label": label, "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = doors[n % 2].get("/tasks", params=params).json()
        seen += [task["id"] for task in page["data"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == made[::-1]
    for task_id in made:
        assert doors[0].post(f"/tasks/{task_id}/cancel").json()["status"] == "canceled"


def stream(door: httpx2.Client, task_id: UUID, *, after: int | None, at_most: int) -> list[int]:
    """Ids of up to so many events of one connection."""
    headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": str(after)})
    ids: list[int] = []
    with door.stream("GET", f"/tasks/{task_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        for item in parse_events(answer.iter_text()):
            if isinstance(item, ServerSentEvent) and item.id:
                ids.append(int(item.id))
            if len(ids) == at_most:
                break
    return ids


def test_a_stream_goes_on_at_the_other_door_without_gap_or_double(doors: Doors) -> None:
    """The reader changes doors after each third event while the task runs, and the task is never at its door."""
    task_id = UUID(doors[0].post("/tasks", json=SLOW).json()["id"])
    seen: list[int] = []
    turn = 0
    while True:
        door = doors[turn % 2]
        task = door.get(f"/tasks/{task_id}").json()
        if task["status"] == "completed" and len(seen) == task["seq"]:
            break
        seen += stream(door, task_id, after=seen[-1] if seen else None, at_most=3)
        turn += 1
    assert turn > 3
    assert seen == list(range(1, len(seen) + 1))
    ended = doors[1].get(
        f"/tasks/{task_id}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": str(seen[-1])}
    )
    assert ended.status_code == 204
