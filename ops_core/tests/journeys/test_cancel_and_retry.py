"""A person's word in the middle: cancel of a queued and of a running task, retry from the journal and from scratch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.tests.llm.http_server import Reply
from agentkit.tests.llm.script import Call, Fail, Fault, Say
from ops_core.client.answers import Task
from ops_core.domain.task import RetryFrom
from ops_core.tests.journeys import naughty_tools
from ops_core.tests.journeys.conftest import ModelServer
from ops_core.tests.journeys.system import System, until

#: Far less than what the model would have taken, and than any time limit.
PROMPTLY_SECONDS = 5.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[System]:
    """`ops-core up` with one slot, so that a task which kept it would be noticed."""
    directory = tmp_path_factory.mktemp("cancel")
    agents = directory / "agents"
    agents.mkdir()
    model = f"model: {{provider: openai-compatible, name: scripted, base_url: '{model_server.url}'}}\n"
    (agents / "scripted.yaml").write_text(f"{model}tools: [note]\nmax_attempts: 1\n")
    naughty_tools.install(directory / "plugins")
    with System(directory, database_url=f"sqlite:///{directory}/ops.db", concurrency=1) as system:
        system.environment |= {
            "AGENTKIT_LLM_API_KEY": model_server.vendors.key,
            "PYTHONPATH": str(directory / "plugins"),
            naughty_tools.CALLS_FILE: str(directory / "calls"),
        }
        system.wait_ready(system.start("up", "up"))
        yield system


@pytest.fixture(autouse=True)
def no_script_is_left(model_server: ModelServer) -> Iterator[None]:
    yield
    model_server.vendors.forget_script()


def types_of(system: System, task: Task) -> list[str]:
    with system.client() as client:
        return [event.type for event in client.tasks.past_events(task.id)]


def notes(system: System, what: str) -> int:
    return naughty_tools.calls_in(Path(system.environment[naughty_tools.CALLS_FILE])).count(what)


def test_a_running_task_is_canceled_in_the_middle_of_a_model_call(system: System, model_server: ModelServer) -> None:
    vendors = model_server.vendors
    hung_up = vendors.hung_up
    vendors.then(Reply(hang=True))
    with system.client() as client:
        task = client.tasks.submit("scripted", "Think for ever")
        until(lambda: vendors.hanging, what="the model thinks")
        began = time.monotonic()
        asked = client.tasks.cancel(task.id)
        assert asked.status in {"running", "canceled"}
        done = client.tasks.wait(task.id, timeout_seconds=PROMPTLY_SECONDS)
        assert done.status == "canceled"
        until(lambda: vendors.hung_up == hung_up + 1, seconds=PROMPTLY_SECONDS, what="the call of the model is closed")
        assert time.monotonic() - began < PROMPTLY_SECONDS
        # The only slot is free again.
        after = client.tasks.wait(client.tasks.submit("assistant", "What is 6 * 7?").id, timeout_seconds=30)
    assert after.status == "completed"
    assert types_of(system, task) == ["task.submitted", "task.started", "task.cancel_requested", "task.canceled"]


def test_a_queued_task_is_canceled_at_once_and_never_runs(system: System, model_server: ModelServer) -> None:
    vendors = model_server.vendors
    vendors.then(Reply(hang=True))
    with system.client() as client:
        running = client.tasks.submit("scripted", "Keep the only slot")
        until(lambda: vendors.hanging, what="the slot is taken")
        queued = client.tasks.submit("assistant", "What is 6 * 7?")
        assert client.tasks.cancel(queued.id).status == "canceled"
        client.tasks.cancel(running.id)
        assert client.tasks.wait(running.id, timeout_seconds=PROMPTLY_SECONDS).status == "canceled"
        # Whoever comes next runs, and the ticket of the canceled task found nothing.
        after = client.tasks.wait(client.tasks.submit("assistant", "What is 6 * 7?").id, timeout_seconds=30)
    assert after.status == "completed"
    assert types_of(system, queued) == ["task.submitted", "task.canceled"]


def test_a_retry_goes_on_from_the_journal_and_a_retry_from_scratch_does_everything_anew(
    system: System, model_server: ModelServer
) -> None:
    vendors = model_server.vendors
    call = Call((("note", {"what": "paid"}),))
    with system.client() as client:
        vendors.then(call, Fail(Fault.bad_key))
        task = client.tasks.submit("scripted", "Pay once")
        failed = client.tasks.wait(task.id, timeout_seconds=30)
        assert (failed.status, notes(system, "paid")) == ("failed", 1)

        asked = vendors.received
        vendors.then(Say("Paid"))
        client.tasks.retry(task.id)
        done = client.tasks.wait(task.id, timeout_seconds=30)
        assert (done.status, done.round) == ("completed", 2)
        assert (notes(system, "paid"), vendors.received - asked) == (1, 1)

        vendors.then(call, Say("Paid again"))
        client.tasks.retry(task.id, retry_from=RetryFrom.scratch)
        anew = client.tasks.wait(task.id, timeout_seconds=30)
        assert (anew.status, anew.round) == ("completed", 3)
        assert (notes(system, "paid"), vendors.received - asked) == (2, 3)
