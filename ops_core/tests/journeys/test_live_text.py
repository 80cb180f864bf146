"""A model's text is seen while it is written: embedded, and from another API process than the one that was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import httpx2
import pytest

from ops_core.client.answers import Event, TextDelta
from ops_core.client.sse import ServerSentEvent, parse_events
from ops_core.domain.text import LiveText
from ops_core.domain.text import TextDelta as Piece
from ops_core.tests.free_port import free_port
from ops_core.tests.journeys.system import System, descendants, until
from ops_core.wire.pb.v1 import tasks_pb2, tasks_pb2_grpc

WHOLE = "Done after 0 steps" + "".join(f" w{number}" for number in range(150))
WRITE = {"agent": "writer", "goal": "Write", "stream": True}


def test_text_is_told_while_it_is_written_and_the_step_is_one_event(embedded: System) -> None:
    with embedded.client() as client:
        task = client.tasks.submit("writer", "Write", stream=True)
        items = list(client.tasks.watch(task.id, timeout_seconds=60))
        again = list(client.tasks.watch(task.id, timeout_seconds=60))

    events = [item for item in items if isinstance(item, Event)]
    texts = [item for item in items if isinstance(item, TextDelta)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert "".join(text.text for text in texts) == WHOLE
    assert len(texts) > 20
    kinds = [item.type if isinstance(item, Event) else "text" for item in items]
    assert kinds.index("llm.completed") == len(kinds) - 2
    # The log is the same for who comes afterwards; of the text there is nothing but the step's event.
    assert [item.as_json() for item in again] == [event.as_json() for event in events]
    assert events[-2].payload["message"]["text"] == WHOLE


def test_a_task_that_does_not_stream_has_no_text(embedded: System) -> None:
    with embedded.client() as client:
        task = client.tasks.submit("writer", "Write")
        items = list(client.tasks.watch(task.id, timeout_seconds=60))

    assert [item for item in items if isinstance(item, TextDelta)] == []
    assert isinstance(items[-1], Event)


def test_the_terminal_shows_it(embedded: System) -> None:
    told = embedded.run("task", "run", "writer", "Write", "--stream")

    assert told.returncode == 0
    assert told.stdout == f"{WHOLE}\n"
    assert any(line.rstrip() == WHOLE for line in told.stderr.splitlines())


class Reader:
    """Reads an event stream over any number of connections, as a browser does."""

    def __init__(self, door: httpx2.Client, task_id: str) -> None:
        self._door = door
        self._path = f"/tasks/{task_id}/events"
        self._live = LiveText()
        self.seqs: list[int] = []
        self.types: list[str] = []
        self.texts: list[Piece] = []
        self.last_id = ""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.texts)

    def read(self, *, until_text: str | None = None) -> None:
        """Until the task is final, or so much of the text is here: then it hangs up."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        with self._door.stream("GET", self._path, headers=headers, timeout=60) as answer:
            for item in parse_events(answer.iter_text()):
                if isinstance(item, ServerSentEvent):
                    self._take(item)
                if until_text is not None and until_text in self.text:
                    return

    def _take(self, item: ServerSentEvent) -> None:
        if item.event == "text":
            self.texts += self._live.add([Piece(**json.loads(item.data))])
            return
        self.last_id = item.id
        self.seqs.append(int(item.id))
        self.types.append(item.event)


@pytest.fixture(scope="module")
def doors(running_production: System) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """Clients of two API processes of one installation."""
    system, port = running_production, free_port()
    second = system.start("reading-api", "api", "start", port=port)
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


@pytest.mark.services
def test_another_api_process_shows_the_text_live(doors: Doors) -> None:
    reader = Reader(doors[1], doors[0].post("/tasks", json=WRITE).json()["id"])
    reader.read()

    assert reader.seqs == list(range(1, len(reader.seqs) + 1))
    assert reader.types[-2:] == ["llm.completed", "task.completed"]
    assert reader.text == WHOLE
    assert len(reader.texts) > 20


@pytest.mark.services
def test_who_comes_late_is_cut_off_and_comes_back_misses_nothing(doors: Doors) -> None:
    task_id = doors[0].post("/tasks", json=WRITE).json()["id"]
    first = Reader(doors[0], task_id)
    first.read(until_text=" w40 ")

    late = Reader(doors[1], task_id)
    late.read(until_text=" w60 ")
    so_far = late.texts[0]
    assert (so_far.offset, " w10 " in so_far.text) == (0, True)
    late.read(until_text=" w90 ")
    late.read()
    assert late.text == WHOLE
    assert late.seqs == list(range(1, len(late.seqs) + 1))
    assert late.types[-2:] == ["llm.completed", "task.completed"]

    first.read()
    assert first.seqs == late.seqs
    log = doors[0].get(f"/tasks/{task_id}/events").json()["data"]
    assert [event["seq"] for event in log] == late.seqs
    assert "text" not in {event["type"] for event in log}


@pytest.mark.services
def test_grpc_shows_it_too(running_production: System, doors: Doors) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{running_production.grpc_port}") as channel:
        stub = tasks_pb2_grpc.TaskServiceStub(channel)
        asked = tasks_pb2.SubmitTaskRequest(agent="writer", goal="Write", stream=True)
        task = stub.SubmitTask(asked, timeout=30).task
        events = list(stub.WatchTask(tasks_pb2.WatchTaskRequest(id=task.id), timeout=60))

    live = LiveText()
    pieces = [
        Piece(step_key=event.step_key, epoch=event.text.epoch, offset=event.text.offset, text=event.text.text)
        for event in events
        if event.type == "text"
    ]
    assert "".join(new.text for new in live.add(pieces)) == WHOLE
    seqs = [event.seq for event in events if event.type != "text"]
    assert seqs == list(range(1, len(seqs) + 1))
    assert [event.seq for event in events] == sorted(event.seq for event in events)


@pytest.mark.services
def test_after_the_worker_was_killed_the_text_begins_anew(running_production: System, doors: Doors) -> None:
    """Its lease goes to another worker, which asks the model again: a higher epoch, from the start."""
    task_id = doors[0].post("/tasks", json=WRITE).json()["id"]
    reader = Reader(doors[1], task_id)
    reader.read(until_text=" w20 ")
    worker = doors[0].get(f"/tasks/{task_id}").json()["worker_id"]
    victim = next(one for one in running_production.processes if _runs(one.pid, worker))
    name = victim.name
    victim.kill()
    running_production.processes.remove(victim)
    try:
        reader.read()
    finally:
        running_production.start_worker(f"{name}-again")

    first, *_, last = sorted({piece.epoch for piece in reader.texts})
    by_epoch = {epoch: "".join(p.text for p in reader.texts if p.epoch == epoch) for epoch in (first, last)}
    assert by_epoch[last] == WHOLE
    assert WHOLE.startswith(by_epoch[first])
    assert len(by_epoch[first]) < len(WHOLE)
    assert reader.seqs == list(range(1, len(reader.seqs) + 1))


def _runs(pid: int, worker_id: str) -> bool:
    """Whether the worker is this process or a child of it. A number alone could be part of another's name, and then
    the one that is killed might be the housekeeper, without which nobody takes the task back."""
    return any(f"-{one}-" in worker_id for one in (pid, *descendants(pid)))
