from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from ops_core.domain.agent import AgentDefinition, ModelChoice
from ops_core.domain.caller import Caller
from ops_core.domain.event import Event, EventType, NewEvent
from ops_core.domain.outcome import Completed
from ops_core.domain.task import RetryFrom, TaskStatus, TaskUsage
from ops_core.errors import (
    AgentNotFound,
    CursorMalformed,
    IdempotencyKeyReused,
    InputSchemaMismatch,
    InvalidInput,
    ModelNotConfigured,
    PayloadTooLarge,
    StoreUnavailable,
    TaskFinished,
    TaskNotFinished,
    TaskNotFound,
)
from ops_core.ports import NudgeKind
from ops_core.services.tasks import Submission, TaskFilter, TaskService
from ops_core.tests.fakes import FakeNudges, FakeRelay, FakeStore

DONE = Completed(result="4", usage=TaskUsage(steps=1))
ASK = Submission(agent="assistant", goal="What is 2 + 2?")
STRANGER = Caller(namespace="elsewhere")
SOON_SECONDS = 5.0


class TestSubmit:
    async def test_a_goal_becomes_an_input_and_the_agents_own_settings_fill_the_rest(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        assert task.status is TaskStatus.queued
        assert task.input == {"goal": "What is 2 + 2?"}
        assert (task.queue, task.max_attempts, task.priority) == ("default", 3, 5)
        assert task.agent_digest == store.agents["default", "assistant"].digest

    async def test_the_doorbell_is_announced_once_the_task_is_kept(
        self, service: TaskService, relay: FakeRelay, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        assert [(ring.queue, ring.task_id) for ring in relay.rings] == [("default", task.id)]

    @pytest.mark.parametrize("clock_ahead", [timedelta(hours=2), timedelta(hours=-2)], ids=["ahead", "behind"])
    async def test_a_wrong_clock_of_this_machine_refuses_no_time_that_is_yet_to_come(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        later = replace(ASK, run_at=store.now + timedelta(hours=1))
        assert (await service.submit(caller, later)).task.status is TaskStatus.scheduled

    @pytest.mark.parametrize("clock_ahead", [timedelta(hours=2)], ids=["ahead"])
    async def test_what_is_past_is_refused_by_the_databases_clock(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        with pytest.raises(InvalidInput, match=rf"it is {store.now:%Y-%m-%dT%H:%M}"):
            await service.submit(caller, replace(ASK, run_at=store.now - timedelta(minutes=5)))

    async def test_a_task_that_is_due_later_rings_no_doorbell(
        self, service: TaskService, store: FakeStore, relay: FakeRelay, caller: Caller
    ) -> None:
        later = replace(ASK, run_at=store.now + timedelta(hours=1))
        assert (await service.submit(caller, later)).task.status is TaskStatus.scheduled
        assert relay.rings == []

    async def test_an_unknown_agent_is_refused_with_the_name_that_was_probably_meant(
        self, service: TaskService, caller: Caller
    ) -> None:
        with pytest.raises(AgentNotFound, match=r"did you mean 'assistant'.*assistant, weather") as caught:
            await service.submit(caller, replace(ASK, agent="asistant"))
        assert caught.value.problems[0].pointer == "/agent"

    async def test_input_that_breaks_the_agents_schema_is_refused_with_pointers_to_each_place(
        self, service: TaskService, caller: Caller
    ) -> None:
        with pytest.raises(InputSchemaMismatch) as caught:
            await service.submit(caller, Submission(agent="weather", input={"city": 7, "days": 9}))
        assert [problem.pointer for problem in caught.value.problems] == ["/input/city", "/input/days"]

    async def test_a_goal_for_an_agent_that_wants_other_input_is_refused_at_the_goal(
        self, service: TaskService, caller: Caller
    ) -> None:
        with pytest.raises(InputSchemaMismatch, match="'city' is a required property") as caught:
            await service.submit(caller, replace(ASK, agent="weather"))
        assert {problem.pointer for problem in caught.value.problems} == {"/goal"}

    async def test_an_agent_whose_model_has_no_key_is_refused_at_submit(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        await store.put_agents("default", [AgentDefinition(name="paid", model=ModelChoice(provider="openai"))])
        with pytest.raises(ModelNotConfigured, match="OPENAI_API_KEY"):
            await service.submit(caller, replace(ASK, agent="paid"))

    async def test_a_new_version_of_an_agent_is_seen_at_the_latest_after_the_moment_it_is_remembered(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        await service.submit(caller, ASK)
        await store.put_agents("default", [AgentDefinition(name="assistant", instructions="Be brief.")])
        async with asyncio.timeout(SOON_SECONDS):
            while (await service.submit(caller, ASK)).task.agent_digest != store.agents["default", "assistant"].digest:
                await asyncio.sleep(0.01)


class TestIdempotency:
    KEYED = replace(ASK, idempotency_key="order-1")

    async def test_the_same_request_again_gives_the_first_task_and_rings_nothing(
        self, service: TaskService, relay: FakeRelay, caller: Caller
    ) -> None:
        first = await service.submit(caller, self.KEYED)
        again = await service.submit(caller, self.KEYED)
        assert (again.task.id, again.replayed, first.replayed) == (first.task.id, True, False)
        assert len(relay.rings) == 1

    async def test_the_same_key_with_another_request_is_refused(self, service: TaskService, caller: Caller) -> None:
        await service.submit(caller, self.KEYED)
        with pytest.raises(IdempotencyKeyReused):
            await service.submit(caller, replace(self.KEYED, priority=9))

    async def test_a_goal_and_the_input_it_stands_for_are_the_same_request(
        self, service: TaskService, caller: Caller
    ) -> None:
        await service.submit(caller, self.KEYED)
        spelled_out = replace(self.KEYED, goal=None, input={"goal": ASK.goal})
        assert (await service.submit(caller, spelled_out)).replayed

    async def test_a_repeated_request_finds_its_task_although_its_time_has_passed_by_now(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        later = replace(self.KEYED, run_at=store.now + timedelta(seconds=10))
        first = await service.submit(caller, later)
        store.now += timedelta(hours=1)
        again = await service.submit(caller, later)
        assert (again.task.id, again.replayed) == (first.task.id, True)

    async def test_keys_of_another_namespace_are_not_seen(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        await store.put_agents("elsewhere", [AgentDefinition(name="assistant")])
        await service.submit(caller, self.KEYED)
        assert not (await service.submit(STRANGER, self.KEYED)).replayed


class TestBatch:
    async def test_tasks_are_added_in_order(self, service: TaskService, caller: Caller) -> None:
        goals = ["one", "two", "three"]
        added = await service.submit_batch(caller, [replace(ASK, goal=goal) for goal in goals])
        assert [one.task.input["goal"] for one in added] == goals

    async def test_nothing_is_added_when_one_of_them_is_wrong(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        batch = [ASK, replace(ASK, priority=10), replace(ASK, agent="nobody")]
        with pytest.raises(InvalidInput) as caught:
            await service.submit_batch(caller, batch)
        assert [problem.pointer for problem in caught.value.problems] == ["/tasks/1/priority", "/tasks/2/agent"]
        assert store.tasks == {}

    async def test_a_key_given_twice_within_the_batch_is_refused(self, service: TaskService, caller: Caller) -> None:
        keyed = replace(ASK, idempotency_key="k")
        with pytest.raises(InvalidInput) as caught:
            await service.submit_batch(caller, [keyed, keyed])
        assert caught.value.problems[0].pointer == "/tasks/1/idempotency_key"

    async def test_a_reused_key_is_named_and_the_others_are_added(
        self, service: TaskService, relay: FakeRelay, caller: Caller
    ) -> None:
        await service.submit(caller, replace(ASK, idempotency_key="k"))
        with pytest.raises(IdempotencyKeyReused, match="The other 1 tasks of the batch are added") as caught:
            await service.submit_batch(caller, [ASK, replace(ASK, goal="else", idempotency_key="k")])
        assert caught.value.problems[0].pointer == "/tasks/1/idempotency_key"
        assert len(relay.rings) == 2

    async def test_a_batch_over_the_limit_is_refused(self, service: TaskService, caller: Caller) -> None:
        with pytest.raises(PayloadTooLarge, match="at most 10"):
            await service.submit_batch(caller, [ASK] * 11)

    async def test_an_empty_batch_is_refused(self, service: TaskService, caller: Caller) -> None:
        with pytest.raises(InvalidInput, match="at least one"):
            await service.submit_batch(caller, [])

    async def test_a_lost_database_is_told_as_such(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        store.away = True
        with pytest.raises(StoreUnavailable):
            await service.submit_batch(caller, [ASK])


class TestList:
    async def test_pages_follow_each_other_without_gap_or_double(self, service: TaskService, caller: Caller) -> None:
        added = [(await service.submit(caller, ASK)).task.id for _ in range(7)]
        seen, cursor = [], None
        while True:
            page = await service.list(caller, TaskFilter(), limit=3, cursor=cursor)
            seen += [task.id for task in page.tasks]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == added[::-1]

    async def test_a_full_last_page_has_no_next(self, service: TaskService, caller: Caller) -> None:
        for _ in range(2):
            await service.submit(caller, ASK)
        assert (await service.list(caller, TaskFilter(), limit=2, cursor=None)).next_cursor is None

    async def test_a_cursor_of_another_filter_is_refused(self, service: TaskService, caller: Caller) -> None:
        for _ in range(2):
            await service.submit(caller, ASK)
        cursor = (await service.list(caller, TaskFilter(), limit=1, cursor=None)).next_cursor
        with pytest.raises(CursorMalformed):
            await service.list(caller, TaskFilter(agent="assistant"), limit=1, cursor=cursor)
        with pytest.raises(CursorMalformed):
            await service.list(STRANGER, TaskFilter(), limit=1, cursor=cursor)

    async def test_the_beginning_of_an_id_may_have_dashes_and_capitals(
        self, service: TaskService, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        prefix = str(task.id)[:11].upper()
        page = await service.list(caller, TaskFilter(id_prefix=prefix), limit=1, cursor=None)
        assert page.tasks == [task]

    @pytest.mark.parametrize("limit", [0, -1, 201])
    async def test_a_limit_out_of_bounds_is_refused(self, service: TaskService, caller: Caller, limit: int) -> None:
        with pytest.raises(InvalidInput, match="between 1 and 200"):
            await service.list(caller, TaskFilter(), limit=limit, cursor=None)

    @pytest.mark.parametrize("prefix", ["", "xyz", "0" * 33, "-"])
    async def test_an_id_prefix_that_is_not_hexadecimal_is_refused(
        self, service: TaskService, caller: Caller, prefix: str
    ) -> None:
        with pytest.raises(InvalidInput, match="hexadecimal"):
            await service.list(caller, TaskFilter(id_prefix=prefix), limit=1, cursor=None)

    async def test_tasks_of_another_namespace_are_not_listed(self, service: TaskService, caller: Caller) -> None:
        await service.submit(caller, ASK)
        assert (await service.list(STRANGER, TaskFilter(), limit=1, cursor=None)).tasks == []


class TestCancelAndRetry:
    async def test_cancel_of_a_running_task_asks_its_worker_at_once(
        self, service: TaskService, store: FakeStore, nudges: FakeNudges, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        await store.run(task.id)
        assert (await service.cancel(caller, task.id)).cancel_requested_at is not None
        assert (NudgeKind.cancel, task.id) in [(nudge.kind, nudge.task_id) for nudge in nudges.sent]

    async def test_a_finished_task_can_not_be_canceled(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        await store.run(task.id, DONE)
        with pytest.raises(TaskFinished, match="completed"):
            await service.cancel(caller, task.id)

    async def test_retry_reopens_a_finished_task_and_rings(
        self, service: TaskService, store: FakeStore, relay: FakeRelay, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        await store.run(task.id, DONE)
        again = await service.retry(caller, task.id, retry_from=RetryFrom.journal)
        assert (again.status, again.round) == (TaskStatus.queued, 2)
        assert len(relay.rings) == 2

    async def test_a_live_task_can_not_be_retried(self, service: TaskService, caller: Caller) -> None:
        task = (await service.submit(caller, ASK)).task
        with pytest.raises(TaskNotFinished):
            await service.retry(caller, task.id, retry_from=RetryFrom.scratch)

    async def test_a_task_of_another_namespace_is_not_there(self, service: TaskService, caller: Caller) -> None:
        task = (await service.submit(caller, ASK)).task
        with pytest.raises(TaskNotFound):
            await service.get(STRANGER, task.id)
        with pytest.raises(TaskNotFound):
            await service.cancel(STRANGER, task.id)
        with pytest.raises(TaskNotFound):
            await service.events(STRANGER, task.id, after_seq=0, limit=1)


class TestWait:
    async def test_it_ends_when_the_task_does(self, service: TaskService, store: FakeStore, caller: Caller) -> None:
        task = (await service.submit(caller, ASK)).task
        waiting = asyncio.create_task(service.wait(caller, task.id, timeout_seconds=SOON_SECONDS))
        await asyncio.sleep(0)
        await store.run(task.id, DONE)
        assert (await waiting).status is TaskStatus.completed

    async def test_it_gives_the_task_as_it_is_when_the_time_is_over(self, service: TaskService, caller: Caller) -> None:
        task = (await service.submit(caller, ASK)).task
        assert (await service.wait(caller, task.id, timeout_seconds=0.01)).status is TaskStatus.queued

    async def test_it_ends_although_every_nudge_is_lost(
        self, service: TaskService, store: FakeStore, nudges: FakeNudges, caller: Caller
    ) -> None:
        nudges.silent = True
        task = (await service.submit(caller, ASK)).task
        waiting = asyncio.create_task(service.wait(caller, task.id, timeout_seconds=SOON_SECONDS))
        await asyncio.sleep(0)
        await store.run(task.id, DONE)
        assert (await waiting).status is TaskStatus.completed

    @pytest.mark.parametrize("seconds", [-1.0, 61.0, float("nan"), float("inf")])
    async def test_a_time_out_of_bounds_is_refused(self, service: TaskService, caller: Caller, seconds: float) -> None:
        task = (await service.submit(caller, ASK)).task
        with pytest.raises(InvalidInput, match="between 0 and 60"):
            await service.wait(caller, task.id, timeout_seconds=seconds)


class TestWatch:
    async def test_it_gives_every_event_in_order_and_ends_with_the_task(
        self, service: TaskService, store: FakeStore, nudges: FakeNudges, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        watching = asyncio.create_task(collect(service, caller, task.id))
        await asyncio.sleep(0)
        step = NewEvent(type=EventType.llm_completed, payload={}, step_key="1/llm")
        await store.run(task.id, DONE, step)
        events = await watching
        assert [event.type for event in events] == [
            EventType.task_submitted,
            EventType.task_started,
            EventType.llm_completed,
            EventType.task_completed,
        ]
        assert [event.seq for event in events] == [1, 2, 3, 4]
        assert nudges.listeners == 0

    async def test_it_goes_on_after_the_seq_it_is_given(
        self, service: TaskService, store: FakeStore, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        await store.run(task.id, DONE)
        assert [event.seq for event in await collect(service, caller, task.id, after_seq=2)] == [3]
        assert await collect(service, caller, task.id, after_seq=3) == []

    async def test_a_long_log_is_given_whole(self, service: TaskService, store: FakeStore, caller: Caller) -> None:
        task = (await service.submit(caller, ASK)).task
        steps = [NewEvent(type=EventType.llm_completed, payload={}, step_key=f"{n}/llm") for n in range(450)]
        await store.run(task.id, DONE, *steps)
        assert [event.seq for event in await collect(service, caller, task.id)] == list(range(1, 454))

    async def test_a_task_that_waits_is_read_once(self, service: TaskService, store: FakeStore, caller: Caller) -> None:
        task = (await service.submit(caller, ASK)).task
        async with aclosing(service.watch(caller, task.id, after_seq=1)) as events:
            store.reads = 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anext(events)
        assert store.reads == 1

    async def test_an_unknown_task_is_told_before_the_first_event(self, service: TaskService, caller: Caller) -> None:
        with pytest.raises(TaskNotFound):
            await anext(service.watch(caller, uuid4(), after_seq=0))

    async def test_leaving_early_leaves_no_listener_behind(
        self, service: TaskService, nudges: FakeNudges, caller: Caller
    ) -> None:
        task = (await service.submit(caller, ASK)).task
        async with aclosing(service.watch(caller, task.id, after_seq=0)) as events:
            await anext(events)
            assert nudges.listeners == 1
        assert nudges.listeners == 0


async def collect(service: TaskService, caller: Caller, task_id: UUID, *, after_seq: int = 0) -> list[Event]:
    async with asyncio.timeout(SOON_SECONDS):
        items = service.watch(caller, task_id, after_seq=after_seq)
        return [item async for item in items if isinstance(item, Event)]
