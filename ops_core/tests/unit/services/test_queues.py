"""The queue service: what callers are told of queues, and what is none."""

from __future__ import annotations

import pytest

from ops_core.domain.caller import Caller, Role
from ops_core.errors import CursorMalformed, InvalidInput, PermissionDenied
from ops_core.ports import QueueLoad
from ops_core.services.queues import QueueService
from ops_core.services.submission import Submission
from ops_core.services.tasks import TaskService
from ops_core.tests.fake_queues import FakeQueues, worker_serving
from ops_core.tests.fakes import FakeStore

EMPTY = QueueLoad(
    name="new",
    ready=0,
    running=0,
    workers=0,
    slots=0,
    free=0,
    oldest_ready_seconds=None,
    wanted_slots_capped=False,
)


@pytest.fixture
def fake(store: FakeStore) -> FakeQueues:
    return FakeQueues(store)


@pytest.fixture
def queues(fake: FakeQueues) -> QueueService:
    return QueueService(queues=fake, silent_seconds=30)


async def submit(service: TaskService, *names: str, caller: Caller | None = None) -> None:
    for name in names:
        await service.submit(caller or Caller(), Submission(agent="assistant", goal="x", queue=name))


async def test_a_queue_that_nobody_has_heard_of_has_nothing_in_it(queues: QueueService, caller: Caller) -> None:
    assert await queues.get(caller, "new") == EMPTY
    assert EMPTY.wanted_slots == 0


async def test_what_is_ready_and_what_runs_is_wanted(
    queues: QueueService, service: TaskService, store: FakeStore, caller: Caller
) -> None:
    await submit(service, "slow", "slow", "slow", "other")
    await store.run(next(iter(store.tasks)))
    load = await queues.get(caller, "slow")
    assert (load.ready, load.running, load.wanted_slots, load.wanted_slots_capped) == (2, 1, 3, False)


@pytest.mark.parametrize("name", ["", "Slow", "a b", "a/b", "1st", "-a", "a.b", "ü", "a" * 64, "a\n", "a\x00"])
async def test_what_cannot_be_a_queue_is_refused(queues: QueueService, caller: Caller, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await queues.get(caller, name)
    assert [problem.pointer for problem in refused.value.problems] == ["/name"]


async def test_queues_are_listed_by_name_in_pages(
    queues: QueueService, service: TaskService, fake: FakeQueues, caller: Caller
) -> None:
    await submit(service, "b-a", "b_a", "ba", "a")
    fake.workers = [worker_serving("c", "ba")]
    told: list[str] = []
    cursor = None
    while True:
        page = await queues.list(caller, limit=2, cursor=cursor)
        told += [load.name for load in page.queues]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert told == ["a", "b-a", "b_a", "ba", "c"]


async def test_an_empty_queue_is_listed_while_a_worker_serves_it(
    queues: QueueService, fake: FakeQueues, caller: Caller
) -> None:
    fake.workers = [worker_serving("a", "b", slots=4, busy=1), worker_serving("b", slots=2, busy=2)]
    page = await queues.list(caller)
    assert [(load.name, load.workers, load.slots, load.free) for load in page.queues] == [
        ("a", 1, 4, 3),
        ("b", 2, 6, 3),
    ]
    fake.workers = [worker_serving("a", draining=True)]
    assert (await queues.list(caller)).queues == []


async def test_queues_in_which_only_others_have_tasks_are_not_told(
    queues: QueueService, service: TaskService, store: FakeStore, caller: Caller
) -> None:
    await store.put_agents("other", list(store.definitions.values()))
    await submit(service, "theirs", "shared", caller=Caller(namespace="other"))
    await submit(service, "shared", "shared")
    page = await queues.list(caller)
    assert [(load.name, load.ready) for load in page.queues] == [("shared", 2)]
    assert (await queues.get(caller, "theirs")).ready == 0


async def test_a_page_whose_queues_are_all_others_does_not_end_the_list(
    queues: QueueService, service: TaskService, store: FakeStore, caller: Caller
) -> None:
    await store.put_agents("other", list(store.definitions.values()))
    await submit(service, "a", "b", caller=Caller(namespace="other"))
    await submit(service, "c")
    first = await queues.list(caller, limit=2)
    assert first.queues == []
    second = await queues.list(caller, limit=2, cursor=first.next_cursor)
    assert ([load.name for load in second.queues], second.next_cursor) == (["c"], None)


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_a_page_has_so_many(queues: QueueService, caller: Caller, limit: int) -> None:
    with pytest.raises(InvalidInput):
        await queues.list(caller, limit=limit)


async def test_a_cursor_of_something_else_is_refused(
    queues: QueueService, service: TaskService, caller: Caller
) -> None:
    await submit(service, "a", "b")
    cursor = (await queues.list(caller, limit=1)).next_cursor
    for bad, who in (("nonsense", caller), (cursor, Caller(namespace="other"))):
        with pytest.raises(CursorMalformed):
            await queues.list(who, cursor=bad)


async def test_whoever_may_look_is_told(queues: QueueService) -> None:
    assert (await queues.get(Caller(roles=frozenset({Role.viewer})), "a")).name == "a"
    nobody = Caller(roles=frozenset())
    for call in (queues.get(nobody, "a"), queues.list(nobody)):
        with pytest.raises(PermissionDenied):
            await call
