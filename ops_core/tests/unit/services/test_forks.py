"""Forks and retries from a step: what is taken over, what is changed, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from ops_core.domain.agent import AgentDefinition, KeyRule, ModelChoice
from ops_core.domain.caller import Caller
from ops_core.domain.event import EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Completed
from ops_core.domain.task import RateLimit, RetryFrom, Task, TaskStatus, TaskUsage
from ops_core.errors import (
    IdempotencyKeyReused,
    InputSchemaMismatch,
    InvalidInput,
    ModelNotConfigured,
    StepNotFound,
    TaskNotFinished,
    TaskNotFound,
)
from ops_core.services.forks import ForkRequest, ModelChange
from ops_core.services.submission import Submission
from ops_core.services.tasks import TaskService
from ops_core.tests.fakes import FakeRelay, FakeStore

CALLER = Caller(subject="ada")
STEPS = [
    NewEvent(type=EventType.llm_completed, payload={}, step_key=f"{n}/llm", phase=StepPhase.result) for n in (1, 2, 3)
]


@pytest.fixture
async def finished(service: TaskService, store: FakeStore) -> Task:
    """A task of three steps that has completed."""
    submission = Submission(
        agent="weather",
        input={"city": "Oslo"},
        priority=7,
        labels={"team": "x"},
        concurrency_key="acme",
        concurrency_limit=2,
        rate=RateLimit(key="acme", limit=10, per_seconds=60),
        fairness_key="acme",
        attempt_timeout_seconds=30,
        idempotency_key="first",
    )
    task = (await service.submit(Caller(), submission)).task
    await store.run(task.id, Completed(result="sun", usage=TaskUsage()), *STEPS)
    kept = replace(
        store.tasks[task.id],
        concurrency_limit=2,
        rate=submission.rate,
        attempt_timeout_seconds=30,
    )
    store.tasks[task.id] = kept
    return kept


_DEMO_A = ModelChoice(provider="demo", name="a")


class TestForks:
    async def test_a_fork_is_a_task_of_its_own_with_a_link_to_the_first(
        self, service: TaskService, finished: Task, relay: FakeRelay
    ) -> None:
        before = len(relay.rings)
        forked = await service.fork(CALLER, finished.id, ForkRequest(before_step=3))
        task = forked.task
        assert task.id != finished.id
        assert (task.status, task.created_by, task.idempotency_key) == (TaskStatus.queued, "ada", None)
        assert task.forked_from is not None
        assert (task.forked_from.task_id, task.forked_from.round, task.forked_from.before_step) == (finished.id, 1, 3)
        assert len(relay.rings) == before + 1

    async def test_what_is_not_changed_is_taken_over(self, service: TaskService, finished: Task) -> None:
        task = (await service.fork(CALLER, finished.id, ForkRequest(before_step=1))).task
        for name in ("agent", "agent_digest", "input", "queue", "priority", "labels", "max_attempts", "fairness_key"):
            assert getattr(task, name) == getattr(finished, name), name

    async def test_other_instructions_make_another_version_that_new_tasks_do_not_get(
        self, service: TaskService, finished: Task, store: FakeStore
    ) -> None:
        request = ForkRequest(before_step=2, instructions="Be brief.")
        task = (await service.fork(CALLER, finished.id, request)).task
        assert task.agent_digest != finished.agent_digest
        assert store.definitions[task.agent_digest].instructions == "Be brief."
        assert store.agents["default", "weather"].digest == finished.agent_digest

    @pytest.mark.parametrize(
        ("before", "change", "after"),
        [
            (ModelChoice(), ModelChange(name="m"), ModelChoice(name="m")),
            (
                ModelChoice(provider="demo", name="a", base_url="http://x", max_output_tokens=5),
                ModelChange(name="b"),
                ModelChoice(provider="demo", name="b", base_url="http://x", max_output_tokens=5),
            ),
            (
                ModelChoice(provider="demo", name="a", base_url="http://x", max_output_tokens=5),
                ModelChange(provider="gemini"),
                ModelChoice(provider="gemini", max_output_tokens=5),
            ),
            (
                ModelChoice(provider="demo", name="a"),
                ModelChange(provider="demo"),
                ModelChoice(provider="demo", name="a"),
            ),
        ],
    )
    async def test_another_model_keeps_what_belongs_to_its_provider(
        self,
        service: TaskService,
        store: FakeStore,
        before: ModelChoice,
        change: ModelChange,
        after: ModelChoice,
    ) -> None:
        await store.put_agents("default", [AgentDefinition(name="modelled", model=before)])
        task = (await service.submit(Caller(), Submission(agent="modelled", goal="x"))).task
        await store.run(task.id, Completed(result="x", usage=TaskUsage()), *STEPS)
        forked = (await service.fork(CALLER, task.id, ForkRequest(before_step=1, model=change))).task
        assert store.definitions[forked.agent_digest].model == after

    async def test_a_model_without_its_key_is_refused(self, service: TaskService, finished: Task) -> None:
        request = ForkRequest(before_step=1, model=ModelChange(provider="openai"))
        with pytest.raises(ModelNotConfigured) as caught:
            await service.fork(CALLER, finished.id, request)
        assert [one.pointer for one in caught.value.problems] == ["/model"]

    async def test_another_input_has_to_fit_the_agents_schema(self, service: TaskService, finished: Task) -> None:
        with pytest.raises(InputSchemaMismatch) as caught:
            await service.fork(CALLER, finished.id, ForkRequest(before_step=1, input={"city": 5}))
        assert [one.pointer for one in caught.value.problems] == ["/input/city"]
        task = (await service.fork(CALLER, finished.id, ForkRequest(before_step=1, input={"city": "Rome"}))).task
        assert task.input == {"city": "Rome"}

    async def test_another_input_counts_under_its_own_keys(self, service: TaskService, store: FakeStore) -> None:
        rules = {"concurrency": KeyRule(key="input.customer", limit=3), "fairness": KeyRule(key="input.customer")}
        await store.put_agents("default", [AgentDefinition(name="keyed", **rules)])  # type: ignore[arg-type]  # both are rules
        task = (await service.submit(Caller(), Submission(agent="keyed", input={"goal": "x", "customer": "ada"}))).task
        await store.run(task.id, Completed(result="x", usage=TaskUsage()), *STEPS)
        for customer in ("ada", "bob"):
            request = ForkRequest(before_step=2, input={"goal": "x", "customer": customer})
            forked = (await service.fork(CALLER, task.id, request)).task
            assert (forked.concurrency_key, forked.fairness_key) == (customer, customer)
        with pytest.raises(InvalidInput, match="makes no concurrency key"):
            await service.fork(CALLER, task.id, ForkRequest(before_step=2, input={"goal": "x"}))

    async def test_a_step_that_is_not_there(self, service: TaskService, finished: Task, store: FakeStore) -> None:
        with pytest.raises(StepNotFound) as caught:
            await service.fork(CALLER, finished.id, ForkRequest(before_step=9))
        assert [one.pointer for one in caught.value.problems] == ["/from_step"]
        assert list(store.tasks) == [finished.id]

    @pytest.mark.parametrize(
        ("request_", "pointer"),
        [
            (ForkRequest(before_step=0), "/from_step"),
            (ForkRequest(before_step=-1), "/from_step"),
            (ForkRequest(before_step=10**12), "/from_step"),
            (ForkRequest(before_step=1, instructions="x" * 200_001), "/instructions"),
            (ForkRequest(before_step=1, instructions="a\x00"), "/instructions"),
            (ForkRequest(before_step=1, model=ModelChange(name="")), "/model/name"),
            (ForkRequest(before_step=1, input={"city": "\ud800"}), "/input/city"),
            (ForkRequest(before_step=1, idempotency_key="ü"), "/idempotency_key"),
        ],
    )
    async def test_what_cannot_be_a_fork(
        self, service: TaskService, finished: Task, request_: ForkRequest, pointer: str
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            await service.fork(CALLER, finished.id, request_)
        assert [one.pointer for one in caught.value.problems] == [pointer]

    async def test_only_a_finished_task_is_forked(self, service: TaskService) -> None:
        task = (await service.submit(Caller(), Submission(agent="assistant", goal="x"))).task
        with pytest.raises(TaskNotFinished):
            await service.fork(CALLER, task.id, ForkRequest(before_step=1))
        with pytest.raises(TaskNotFound):
            await service.fork(CALLER, uuid4(), ForkRequest(before_step=1))

    async def test_the_same_key_gives_the_first_fork_again(self, service: TaskService, finished: Task) -> None:
        request = ForkRequest(before_step=2, instructions="Be brief.", idempotency_key="k")
        first = await service.fork(CALLER, finished.id, request)
        again = await service.fork(CALLER, finished.id, request)
        assert (again.replayed, again.task.id) == (True, first.task.id)
        with pytest.raises(IdempotencyKeyReused):
            await service.fork(CALLER, finished.id, replace(request, before_step=1))

    async def test_the_same_input_through_another_door_is_the_same_request(
        self, service: TaskService, finished: Task
    ) -> None:
        """gRPC's numbers know no difference between 2 and 2.0."""
        days = [
            ForkRequest(before_step=1, input={"city": "Oslo", "days": days}, idempotency_key="k") for days in (2.0, 2)
        ]
        first, again = [await service.fork(CALLER, finished.id, request) for request in days]
        assert (again.task.id, again.replayed) == (first.task.id, True)

    async def test_a_repeated_request_finds_its_fork_although_the_first_task_was_reopened(
        self, service: TaskService, finished: Task
    ) -> None:
        request = ForkRequest(before_step=2, idempotency_key="k")
        first = await service.fork(CALLER, finished.id, request)
        await service.retry(CALLER, finished.id, retry_from=RetryFrom.journal)
        again = await service.fork(CALLER, finished.id, request)
        assert (again.replayed, again.task.id) == (True, first.task.id)


class TestRetryFromAStep:
    async def test_it_is_the_stores_to_find_it(self, service: TaskService, finished: Task) -> None:
        task = await service.retry(CALLER, finished.id, retry_from=RetryFrom.step, before_step=2)
        assert (task.status, task.round) == (TaskStatus.queued, 2)

    @pytest.mark.parametrize(
        ("retry_from", "step"), [(RetryFrom.step, None), (RetryFrom.journal, 2), (RetryFrom.scratch, 1)]
    )
    async def test_a_step_goes_with_step_and_only_with_it(
        self, service: TaskService, finished: Task, retry_from: RetryFrom, step: int | None
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            await service.retry(CALLER, finished.id, retry_from=retry_from, before_step=step)
        assert [one.pointer for one in caught.value.problems] == ["/step"]

    @pytest.mark.parametrize("step", [0, 9])
    async def test_a_step_that_is_not_there(self, service: TaskService, finished: Task, step: int) -> None:
        with pytest.raises(InvalidInput) as caught:
            await service.retry(CALLER, finished.id, retry_from=RetryFrom.step, before_step=step)
        assert [one.pointer for one in caught.value.problems] == ["/step"]


class TestFamily:
    async def test_children_and_the_chain_above(self, service: TaskService, store: FakeStore) -> None:
        ids: list[UUID] = []
        for depth in range(3):
            task = (await service.submit(Caller(), Submission(agent="assistant", goal="x"))).task
            parent = ids[-1] if ids else None
            store.tasks[task.id] = replace(store.tasks[task.id], parent_id=parent, depth=depth)
            ids.append(task.id)
        page = await service.children(Caller(), ids[0], limit=10, cursor=None)
        assert ([one.id for one in page.tasks], page.next_cursor) == ([ids[1]], None)
        assert [one.id for one in await service.ancestors(Caller(), ids[2])] == ids[::-1]

    async def test_of_a_task_that_is_not_there(self, service: TaskService) -> None:
        with pytest.raises(TaskNotFound):
            await service.children(Caller(), uuid4(), limit=10, cursor=None)
        with pytest.raises(TaskNotFound):
            await service.ancestors(Caller(), uuid4())
