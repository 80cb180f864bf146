"""A worker dies in the middle of a task: the task finishes, and what was done is not done again."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from ops_core.client.answers import Task
from ops_core.tests.journeys.conftest import EffectServer, ModelServer
from ops_core.tests.journeys.system import Process, System, until

pytestmark = pytest.mark.services

STEPS = 10
AGENT = f"charger-{STEPS}-200"
MODEL = f"react-{STEPS}-delay-200"
#: Model calls of a run that nobody disturbs: one for each charge, one for the answer.
CALLS = STEPS + 1


def charges_recorded(system: System, task_id: UUID) -> list[str]:
    with system.client() as client:
        events = [e for e in client.tasks.past_events(task_id) if e.type == "tool.completed"]
    return [str(e.payload["arguments"]["step"]) for e in events]


def kill_the_worker_of(system: System, workers: list[Process], task_id: UUID) -> None:
    """`kill -9` of the whole worker that holds the task, supervisor included."""
    with system.client() as client:
        worker_id = client.tasks.get(task_id).worker_id
    assert worker_id is not None
    pid = int(worker_id.rsplit("-", 2)[1])
    next(w for w in workers if pid in w.family()).kill()


def run_with_a_kill(system: System, *, forget_the_journal: bool) -> tuple[Task, list[str]]:
    """The finished task, and the charges that were recorded before the kill."""
    workers = [system.start_worker("worker-1"), system.start_worker("worker-2")]
    system.start_housekeeper()
    system.start_api()
    with system.client() as client:
        task = client.tasks.submit(AGENT, "Charge for each step")
        until(lambda: len(charges_recorded(system, task.id)) >= 3, what="three steps are journaled")
        kill_the_worker_of(system, workers, task.id)
        recorded = charges_recorded(system, task.id)
        assert len(recorded) < STEPS, "it was killed too late to prove anything"
        if forget_the_journal:
            with psycopg.connect(system.environment["OPS_CORE_DATABASE_URL"], autocommit=True) as database:
                database.execute("DELETE FROM task_events WHERE task_id = %s AND step_key IS NOT NULL", [task.id])
        return client.tasks.wait(task.id, timeout_seconds=60), recorded


def test_a_killed_workers_task_finishes_and_its_finished_steps_are_not_repeated(
    production: System, model_server: ModelServer, effect_server: EffectServer
) -> None:
    before = model_server.calls(MODEL)
    task, recorded = run_with_a_kill(production, forget_the_journal=False)
    assert (task.status, task.crashes, task.attempt) == ("completed", 1, 1)

    effects = effect_server.of(task.id)
    assert sorted(set(effects), key=lambda s: int(s.split()[1])) == [f"step {n}" for n in range(1, STEPS + 1)]
    assert [effects.count(step) for step in recorded] == [1] * len(recorded)
    # What was in flight at the kill may be asked again; with the same key, so that the outside can tell.
    assert len(effects) <= STEPS + 1
    assert len(set(effect_server.keys_of(task.id))) == STEPS
    assert CALLS <= model_server.calls(MODEL) - before <= CALLS + 1

    with production.client() as client:
        events = list(client.tasks.past_events(task.id))
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert [e.type for e in events].count("task.lease_lost") == 1
    assert [e.type for e in events].count("task.completed") == 1


def test_without_the_journal_the_finished_steps_would_be_repeated(
    production: System, model_server: ModelServer, effect_server: EffectServer
) -> None:
    """The negative control: the counters above do see a repetition."""
    before = model_server.calls(MODEL)
    task, recorded = run_with_a_kill(production, forget_the_journal=True)
    assert task.status == "completed"
    effects = effect_server.of(task.id)
    assert [effects.count(step) for step in recorded] == [2] * len(recorded)
    assert model_server.calls(MODEL) - before > CALLS + 1
