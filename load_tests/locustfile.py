"""Locust users that submit, poll and watch tasks, over REST and over gRPC, against a running system."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import grpc
import grpc.experimental.gevent as grpc_gevent
from locust import FastHttpUser, User, between, events, task
from locust.env import Environment

from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.pb.v1 import tasks_pb2_grpc as rpc

# Before the first channel is made: without it a waiting gRPC call stops all other users of this process.
grpc_gevent.init_gevent()

API_KEY = os.environ.get("LOAD_API_KEY") or os.environ.get("OPS_CORE_API_KEY")
GRPC_TARGET = os.environ.get("LOAD_GRPC_TARGET", "127.0.0.1:50051")
AGENT = os.environ.get("LOAD_AGENT", "assistant")
GOAL = os.environ.get("LOAD_GOAL", "What is 17 * 23?")
#: A task that takes longer than this counts as failed.
TASK_SECONDS = float(os.environ.get("LOAD_TASK_SECONDS", "60"))
#: The run fails (exit code 1) over these. The latency is that of submits, and has no bound unless one is given.
MAX_FAIL_RATIO = float(os.environ.get("LOAD_MAX_FAIL_RATIO", "0"))
MAX_P95_MS = float(os.environ.get("LOAD_MAX_P95_MS", "inf"))

_POLL_SECONDS = 0.2
_FINAL = {"completed", "failed", "canceled", "rejected"}
_T = TypeVar("_T")


class RestUser(FastHttpUser):
    """A client of the REST API: `-H http://…` says where."""

    host = "http://127.0.0.1:8000"
    wait_time = between(0.05, 0.2)
    weight = 3
    # Longer than a watched task may take.
    network_timeout = TASK_SECONDS + 5
    connection_timeout = 10.0
    default_headers = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}

    @task(5)
    def submit(self) -> None:
        self._submit()

    @task(3)
    def submit_and_poll(self) -> None:
        started = time.perf_counter()
        if task_id := self._submit():
            status = _poll(lambda: self._status(task_id))
            _task_done(self.environment, "submit to result, polled (REST)", started, status)

    @task(2)
    def submit_and_watch(self) -> None:
        started = time.perf_counter()
        if task_id := self._submit():
            status = self._watched_status(task_id)
            _task_done(self.environment, "submit to result, watched (REST)", started, status)

    def _submit(self) -> str | None:
        body = {"agent": AGENT, "goal": GOAL, "labels": {"load": "locust"}}
        with self.client.post("/api/v1/tasks", json=body, name="submit", catch_response=True) as response:
            if response.status_code != 201:
                response.failure(f"{response.status_code}: {(response.text or '')[:200]}")
                return None
            return str(response.json()["id"])

    def _status(self, task_id: str) -> str:
        with self.client.get(f"/api/v1/tasks/{task_id}", name="get", catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {(response.text or '')[:200]}")
                return "?"
            return str(response.json()["status"])

    def _watched_status(self, task_id: str) -> str:
        """The server ends the stream after the last event, so the whole of it is one response."""
        path, headers = f"/api/v1/tasks/{task_id}/events", {"Accept": "text/event-stream"}
        with self.client.get(path, headers=headers, name="watch", catch_response=True) as response:
            types = _event_types((response.text or "").splitlines())
            if response.status_code != 200 or not types:
                response.failure(f"{response.status_code}: {(response.text or '')[:200]}")
                return "?"
            return types[-1].removeprefix("task.")


class GrpcUser(User):
    """A client of the gRPC API: LOAD_GRPC_TARGET says where."""

    wait_time = between(0.05, 0.2)
    weight = 1

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # One connection per user, as from as many machines.
        self._channel = grpc.insecure_channel(GRPC_TARGET, options=[("grpc.use_local_subchannel_pool", 1)])
        self._tasks = rpc.TaskServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {API_KEY}"),) if API_KEY else ()

    def on_stop(self) -> None:
        self._channel.close()

    @task(5)
    def submit(self) -> None:
        self._submit()

    @task(3)
    def submit_and_poll(self) -> None:
        started = time.perf_counter()
        if task_id := self._submit():
            status = _poll(lambda: self._status(task_id))
            _task_done(self.environment, "submit to result, polled (gRPC)", started, status)

    @task(2)
    def submit_and_watch(self) -> None:
        started = time.perf_counter()
        if task_id := self._submit():
            types = self._timed("WatchTask", lambda: self._watch(task_id)) or ["?"]
            _task_done(self.environment, "submit to result, watched (gRPC)", started, types[-1].removeprefix("task."))

    def _submit(self) -> str | None:
        request = pb.SubmitTaskRequest(agent=AGENT, goal=GOAL, labels={"load": "locust"})
        reply = self._timed("SubmitTask", lambda: self._tasks.SubmitTask(request, timeout=10, metadata=self._metadata))
        return reply.task.id if reply is not None else None

    def _status(self, task_id: str) -> str:
        request = pb.GetTaskRequest(id=task_id)
        found = self._timed("GetTask", lambda: self._tasks.GetTask(request, timeout=10, metadata=self._metadata))
        return "?" if found is None else pb.TaskStatus.Name(found.status).removeprefix("TASK_STATUS_").lower()

    def _watch(self, task_id: str) -> list[str]:
        request = pb.WatchTaskRequest(id=task_id)
        return [event.type for event in self._tasks.WatchTask(request, timeout=TASK_SECONDS, metadata=self._metadata)]

    def _timed(self, name: str, call: Callable[[], _T]) -> _T | None:
        """The call's result, and its time and outcome among locust's statistics."""
        started, result, error = time.perf_counter(), None, None
        try:
            result = call()
        except grpc.RpcError as raised:
            # A grpc.Call, too: its own text is many lines, and differs each time, so locust could not count them.
            error = RuntimeError(f"{raised.code().name}: {raised.details()}")
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=(time.perf_counter() - started) * 1_000,
            response_length=0,
            exception=error,
            context={},
        )
        return result


def _poll(status: Callable[[], str]) -> str:
    """The first final status, or the last one when the time is over."""
    ends_at = time.monotonic() + TASK_SECONDS
    while True:
        found = status()
        if found in _FINAL or time.monotonic() > ends_at:
            return found
        time.sleep(_POLL_SECONDS)


def _event_types(lines: Iterable[str]) -> list[str]:
    """The types of the events in a stream of server-sent events."""
    return [json.loads(line[5:])["type"] for line in lines if line.startswith("data:")]


def _task_done(environment: Environment, name: str, started: float, status: str) -> None:
    """One row for the whole of a task, from before the submit to its result; anything but a result is a failure."""
    environment.events.request.fire(
        request_type="TASK",
        name=name,
        response_time=(time.perf_counter() - started) * 1_000,
        response_length=0,
        exception=None if status == "completed" else RuntimeError(f"ended as {status}"),
        context={},
    )


@events.quitting.add_listener
def set_exit_code(environment: Environment, **_: Any) -> None:
    """Exit code 1 when too much failed, it was too slow, or nothing was done at all."""
    stats = environment.stats
    submits = [entry for entry in stats.entries.values() if entry.name in ("submit", "SubmitTask")]
    p95 = max((entry.get_response_time_percentile(0.95) or 0 for entry in submits), default=0)
    if stats.total.num_requests == 0:
        problem = "no request was made"
    elif stats.total.fail_ratio > MAX_FAIL_RATIO:
        problem = f"{stats.total.fail_ratio:.2%} of the requests failed (LOAD_MAX_FAIL_RATIO is {MAX_FAIL_RATIO:.2%})"
    elif p95 > MAX_P95_MS:
        problem = f"95 % of the submits took up to {p95:.0f} ms (LOAD_MAX_P95_MS is {MAX_P95_MS:.0f})"
    else:
        return
    print(f"load test failed: {problem}")
    environment.process_exit_code = 1
