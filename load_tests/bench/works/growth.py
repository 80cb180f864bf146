"""Whether a long past slows the present: accept, claim, list and wake beside millions of tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
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

_SUBMITS, _SIGNALS = 5_000, 500
#: Before the clock starts: connections are made, and statements prepared.
_WARM_UP = 100
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
_WAITING_ONES = f"SELECT task_id FROM waits ORDER BY md5(task_id::text) LIMIT {_SIGNALS + _WARM_UP}"
_SEQUENTIAL_SCANS = """
SELECT sum(seq_scan)::int FROM pg_stat_user_tables WHERE relname IN ('tasks', 'task_events', 'waits', 'signals')
"""


@dataclass(frozen=True)
class _Present:
    """What is done beside the past: through the service where it can do it, else through the store."""

    tasks: TaskService
    store: Store
    waiting: list[UUID]
    far_back: str


def growth(bench: Bench, *, waiting_share: float) -> list[Figure]:
    """Rates beside `bench.tasks` finished tasks and, of these, so large a share of waiting ones more; at the least as
    many as are woken. A housekeeper runs, and no worker. Accept and wake have 16 calls in flight, claim takes eight at
    once and ends them, list reads one page after the other."""
    waiting = max(_SIGNALS + _WARM_UP, round(waiting_share * bench.tasks))
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        fill(postgres, finished=bench.tasks, waiting=waiting)
        ids = [row[0] for row in postgres.execute(_WAITING_ONES)]
        (far_back,) = postgres.execute(_FAR_BACK).fetchall()
    before = _sequential_scans(bench)
    bench.start("servers")
    try:
        figures = asyncio.run(_measured(bench, ids, far_back))
    except OpsCoreError as error:
        raise Failed(f"beside {bench.tasks:,} finished tasks: {type(error).__name__}: {error}") from error
    bench.processes.check()
    return [*figures, Figure("sequential-scans", "scans", _sequential_scans(bench) - before)]


def _sequential_scans(bench: Bench) -> int:
    """So far, of the tables that grow."""
    time.sleep(_STATISTICS_SECONDS)
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        row = postgres.execute(_SEQUENTIAL_SCANS).fetchone()
    assert row is not None
    return int(row[0])


async def _measured(bench: Bench, waiting: list[UUID], far_back: tuple[datetime, UUID]) -> list[Figure]:
    configure_logging(level="warning")
    agents = bench.folder / "agents"
    definition = (agents / "noop.yaml").read_text()
    for name in AGENTS:
        (agents / f"{name}.yaml").write_text(definition.replace("name: noop", f"name: {name}"))
    settings = Settings(database_url=bench.database_url, broker_url=bench.broker_url, agents_dir=agents)
    async with open_tasks(settings) as tasks, aclosing(await open_store(settings.database_url)) as store:
        cursor = encode_cursor(TaskQuery(namespace=_CALLER.namespace), far_back)
        present = _Present(tasks, store, waiting, cursor)
        await _accept(present, _WARM_UP)
        await _claim(present, _WARM_UP)
        await _wake(present, _WARM_UP)
        for kind in _LISTS:
            await _list(present, kind, _PAGES_TURNED)
        return [
            Figure("accept", "1/s", _SUBMITS / await _seconds(_accept(present, _SUBMITS))),
            Figure("claim", "1/s", _SUBMITS / await _seconds(_claim(present, _SUBMITS))),
            *await _lists(present),
            Figure("wake", "1/s", _SIGNALS / await _seconds(_wake(present, _SIGNALS))),
        ]


async def _lists(present: _Present) -> list[Figure]:
    took = {kind: await _seconds(_list(present, kind, _PAGES_OF_A_KIND)) for kind in _LISTS}
    each = [Figure(f"list-{kind}", "1/s", _PAGES_OF_A_KIND / seconds) for kind, seconds in took.items()]
    return [Figure("list", "1/s", _PAGES_OF_A_KIND * len(took) / sum(took.values())), *each]


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
        claimed = await store.claim(_QUEUE, limit=_CLAIMED_AT_ONCE, worker_id="bench", lease_seconds=60.0)
        if not claimed:
            raise Failed(f"{count - done} of {count} tasks could not be claimed")
        ends = [store.finish(Lease(task.id, task.epoch), outcome, last_step=last_step) for task in claimed]
        await asyncio.gather(*ends)
        done += len(claimed)


async def _list(present: _Present, kind: str, pages: int) -> None:
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


async def _seconds(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started
