"""The same goals, submitted by REST, gRPC and the terminal, end with the same results on both set-ups."""

from __future__ import annotations

import json

import grpc
import pytest

from ops_core.tests.journeys.system import System
from ops_core.wire.pb.v1 import tasks_pb2, tasks_pb2_grpc

GOALS = {
    "What is 6 * 7?": "6 * 7 = 42",
    "Convert 10 km to miles": "10 km = 6.213711922 mi",
    "Look up the price of a widget in the handbook and multiply it by 12": (
        "The handbook (widget-prices) says: Widget Mini: 12.50 EUR. So 12.50 * 12 = 150."
    ),
}


def by_rest(system: System, goal: str) -> str:
    with system.client() as client:
        task = client.tasks.submit("assistant", goal)
        done = client.tasks.wait(task.id, timeout_seconds=60)
        assert done.status == "completed", done
        return str(done.result["answer"])


def by_grpc(system: System, goal: str) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{system.grpc_port}") as channel:
        stub = tasks_pb2_grpc.TaskServiceStub(channel)
        submitted = stub.SubmitTask(tasks_pb2.SubmitTaskRequest(agent="assistant", goal=goal), timeout=30)
        events = list(stub.WatchTask(tasks_pb2.WatchTaskRequest(id=submitted.task.id), timeout=60))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        task = stub.GetTask(tasks_pb2.GetTaskRequest(id=submitted.task.id), timeout=30)
        assert task.status == tasks_pb2.TASK_STATUS_COMPLETED
        return str(task.result.struct_value["answer"])


def by_terminal(system: System, goal: str) -> str:
    done = system.run("task", "run", "assistant", goal, "-o", "json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["result"]["answer"])


DOORS = {"rest": by_rest, "grpc": by_grpc, "terminal": by_terminal}


@pytest.fixture(scope="module", params=["embedded", pytest.param("production", marks=pytest.mark.services)])
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.getfixturevalue("embedded" if request.param == "embedded" else "running_production")
    return found


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("goal", GOALS)
def test_a_goal_ends_with_the_same_answer_through_every_door(system: System, door: str, goal: str) -> None:
    assert DOORS[door](system, goal) == GOALS[goal]
