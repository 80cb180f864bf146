"""Whether a long past slows the present: accept, claim, list and wake beside millions of tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar
from uuid import UUID

import psycopg
from processes import Failed
from trial import Bench, Figure

from ops_core.bootstrap.in_process import open_tasks
from ops_core.domain.caller import Caller
from ops_core.domain.event import EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Completed
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import TaskStatus, TaskUsage
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import OpsCoreError
from ops_core.ports import Lease, TaskQuery
from ops_core.services.cursors import encode_cursor
from ops_core.services.tasks import Submission, TaskFilter, TaskService
from ops_core.settings import Settings
from ops_core.storage.store import Store, open_store
from ops_core.telemetry import configure_logging
from works.past import AGENTS, CUSTOMERS, SIGNAL, fill

T = TypeVar("T")
#: Tasks that wait, and where in the order of time the far end of a list begins.
_Marks: TypeAlias = tuple[list[UUID], tuple[datetime, UUID]]

_SUBMITS, _SIGNALS = 5_000, 500
_TURNS = 10
#: Before the clock starts: connections are made, and statements prepared.
_WARM_UP = 100
_WOKEN = _SIGNALS + _WARM_UP
_IN_FLIGHT, _CLAIMED_AT_ONCE = 16, 8
#: 500 pages, 100 of each kind of list; a reader turns ten and begins anew.
_PAGES_OF_A_KIND, _PAGES_TURNED, _PAGE = 100, 10, 50
_QUEUE = "default"
_CALLER = Caller()
#: Sessions tell what they did a moment after they have ended.
_STATISTICS_SECONDS = 1.5
_LISTS = {
    "newest": TaskFilter(),
    "waiting": TaskFilter(statuses=frozenset({TaskStatus.waiting})),
    "agent": TaskFilter(agent=AGENTS[1]),
    "label": TaskFilter(labels={"customer": "c7"}),
    "far-back": TaskFilter(),
}
#: The past is thirty days long.
_FAR_BACK = """
SELECT created_at, id FROM tasks WHERE namespace = 'default' AND created_at < now() - interval '15 days'
ORDER BY created_at DESC, id DESC LIMIT 1
"""
_WAITING_ONES = f"SELECT task_id FROM waits ORDER BY md5(task_id::text) LIMIT {_WOKEN}"
_SEQUENTIAL_SCANS = """
SELECT sum(seq_scan)::int FROM pg_stat_user_tables WHERE relname IN ('tasks', 'task_events', 'waits', 'signals')
"""


@dataclass(frozen=True)
class _Present:
    """What is done beside a past: through the service where it can do it, else through the store."""

    tasks: TaskService
    store: Store
    waiting: list[UUID]
    far_back: str


def growth(bench: Bench, *, waiting_share: float) -> list[Figure]:
    """Rates beside `bench.tasks` finished tasks and, of these, so large a share of waiting ones more, in turns with
    those of a database that has but the tasks that are woken. A housekeeper runs beside each, and no worker. Accept and
    wake have 16 calls in flight, claim takes eight at once and ends them, list reads one page after the other."""
    with bench.another() as empty:
        for one, finished in ((bench, bench.tasks), (empty, 0)):
            with psycopg.connect(one.database_url, autocommit=True) as postgres:
                fill(postgres, finished=finished, waiting=max(_WOKEN, round(waiting_share * finished)))
        marks = [_marks(one) for one in (bench, empty)]
        # From here on: what was asked before is our own choice of tasks.
        before = _sequential_scans(bench)
        bench.start("servers")
        empty.start("servers")
        try:
            figures = asyncio.run(_measured((bench, marks[0]), (empty, marks[1])))
        except OpsCoreError as error:
            raise Failed(f"beside {bench.tasks:,} finished tasks: {type(error).__name__}: {error}") from error
        bench.processes.check()
        empty.processes.check()
        return [*figures, Figure("sequential-scans", "scans", _sequential_scans(bench) - before)]


def _marks(bench: Bench) -> _Marks:
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        waiting = [row[0] for row in postgres.execute(_WAITING_ONES)]
        (far_back,) = postgres.execute(_FAR_BACK).fetchall()
    return waiting, far_back


def _sequential_scans(bench: Bench) -> int:
    """So far, of the tables that grow."""
    time.sleep(_STATISTICS_SECONDS)
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        row = postgres.execute(_SEQUENTIAL_SCANS).fetchone()
    assert row is not None
    return int(row[0])


async def _measured(full: tuple[Bench, _Marks], empty: tuple[Bench, _Marks]) -> list[Figure]:
    configure_logging(level="warning")
    async with _present(*full) as beside, _present(*empty) as alone:
        for present in (beside, alone):
            await _accept(present, _WARM_UP)
            await _claim(present, _WARM_UP)
            await _wake(present, _WARM_UP)
            for kind in _LISTS:
                await _list(present, _PAGES_TURNED, kind=kind)
        figures = [
            *await _in_turns("accept", beside, alone, _accept, _SUBMITS),
            *await _in_turns("claim", beside, alone, _claim, _SUBMITS),
        ]
        lists = [
            await _in_turns(f"list-{kind}", beside, alone, partial(_list, kind=kind), _PAGES_OF_A_KIND)
            for kind in _LISTS
        ]
        return [*figures, *_all_lists(lists), *await _in_turns("wake", beside, alone, _wake, _SIGNALS)]


@asynccontextmanager
async def _present(bench: Bench, marks: _Marks) -> AsyncIterator[_Present]:
    waiting, far_back = marks
    agents = bench.folder / "agents"
    definition = (agents / "noop.yaml").read_text()
    for name in AGENTS:
        (agents / f"{name}.yaml").write_text(definition.replace("name: noop", f"name: {name}"))
    settings = Settings(database_url=bench.database_url, broker_url=bench.broker_url, agents_dir=agents)
    async with open_tasks(settings) as tasks, aclosing(await open_store(settings.database_url)) as store:
        yield _Present(tasks, store, waiting, encode_cursor(TaskQuery(namespace=_CALLER.namespace), far_back))


async def _in_turns(
    name: str, beside: _Present, alone: _Present, do: Callable[[_Present, int], Awaitable[None]], count: int
) -> list[Figure]:
    """The machine is not equally fast from one minute to the next: what is compared is done in slices, by turns."""
    took = {"": 0.0, "-alone": 0.0}
    for turn in range(_TURNS):
        order = [("", beside), ("-alone", alone)]
        for suffix, present in order if turn % 2 else reversed(order):
            started = time.perf_counter()
            await do(present, count // _TURNS)
            took[suffix] += time.perf_counter() - started
    rates = [Figure(f"{name}{suffix}", "1/s", count / seconds) for suffix, seconds in took.items()]
    return [*rates, Figure(f"{name}-ratio", "x", took["-alone"] / took[""])]


def _all_lists(lists: Sequence[list[Figure]]) -> list[Figure]:
    """Those of each kind, and of all kinds together."""
    beside, alone = (len(lists) / sum(1 / kind[which].value for kind in lists) for which in (0, 1))
    together = [
        Figure("list", "1/s", beside),
        Figure("list-alone", "1/s", alone),
        Figure("list-ratio", "x", beside / alone),
    ]
    return [*together, *(figure for kind in lists for figure in kind)]


async def _accept(present: _Present, count: int) -> None:
    async def submit(number: int) -> None:
        agent, labels = AGENTS[number % len(AGENTS)], {"customer": f"c{number % CUSTOMERS}", "from": "bench"}
        submission = Submission(agent=agent, goal="nothing", queue=_QUEUE, labels=labels)
        await present.tasks.submit(_CALLER, submission)

    await _in_flight(range(count), submit)


async def _claim(present: _Present, count: int) -> None:
    """As a worker whose agents ask their model once."""
    store, done = present.store, 0
    usage = TaskUsage(steps=1, active_seconds=0.001)
    answer = {"kind": "llm", "message": {"role": "assistant", "text": "nothing"}, "fingerprint": "", "seconds": 0.001}
    last_step = NewEvent(type=EventType.llm_completed, payload=answer, step_key="1/llm", phase=StepPhase.result)
    outcome = Completed(result={"answer": "nothing"}, usage=usage)
    while done < count:
        limit = min(_CLAIMED_AT_ONCE, count - done)
        claimed = await store.claim(_QUEUE, limit=limit, worker_id="bench", lease_seconds=60.0)
        if not claimed:
            raise Failed(f"{count - done} of {count} tasks could not be claimed")
        ends = [store.finish(Lease(task.id, task.epoch), outcome, last_step=last_step) for task in claimed]
        await asyncio.gather(*ends)
        done += len(claimed)


async def _list(present: _Present, pages: int, *, kind: str) -> None:
    first = present.far_back if kind == "far-back" else None
    cursor = first
    for number in range(1, pages + 1):
        page = await present.tasks.list(_CALLER, _LISTS[kind], limit=_PAGE, cursor=cursor)
        cursor = first if number % _PAGES_TURNED == 0 else page.next_cursor or first


async def _wake(present: _Present, count: int) -> None:
    """Each signal goes to another task, and lets it go on."""
    new_ids = Uuid7Source()

    async def send(task_id: UUID) -> None:
        new = NewSignal(id=new_ids.new(), name=SIGNAL, payload=None, sent_by=_CALLER.subject)
        sent = await present.store.send_signal(_CALLER.namespace, task_id, new, max_kept=1)
        if not sent.rings:
            raise Failed(f"a signal did not wake {task_id}")

    chosen, present.waiting[:count] = present.waiting[:count], []
    await _in_flight(chosen, send)


async def _in_flight(items: Iterable[T], do: Callable[[T], Awaitable[None]]) -> None:
    left = iter(items)

    async def one_after_another() -> None:
        for item in left:
            await do(item)

    await asyncio.gather(*(one_after_another() for _ in range(_IN_FLIGHT)))
