"""The store: everything SQL does for services, workers and housekeepers, opened from a URL."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import text

from ops_core.errors import ConfigurationInvalid, StoreUnavailable
from ops_core.ports import NudgeBus, StoreHealth
from ops_core.storage.agents import SqlAgentStore
from ops_core.storage.approvals import SqlApprovalStore
from ops_core.storage.blobs import Blobs
from ops_core.storage.database_clock import DatabaseClock
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.forks import SqlForkStore
from ops_core.storage.group_commit import GroupCommit
from ops_core.storage.housekeeping import SqlHousekeepingStore
from ops_core.storage.nudges import LocalNudgeBus
from ops_core.storage.queues import SqlQueueStore
from ops_core.storage.reader import Reader
from ops_core.storage.refusals import is_lasting
from ops_core.storage.retention import SqlRetentionStore
from ops_core.storage.runs import AppendBatch, ClaimBatch, FinishBatch, PlainEndBatch, SqlRunStore
from ops_core.storage.schedules import SqlScheduleStore
from ops_core.storage.schema import SCHEMA_REVISION, fits
from ops_core.storage.signals import SqlSignalStore
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.submissions import Replayed
from ops_core.storage.tasks import AddBatch, SqlTaskStore
from ops_core.storage.text_deltas import SqlTextStore, TextBatch
from ops_core.storage.writes import Backend, Inserted, TaskInsert, TextAsk
from ops_core.telemetry import LogEvent, get_logger

#: What claim, append and finish wait for company while they are busy.
_LINGER_SECONDS = 0.002


async def open_store(
    url: str,
    *,
    nudges: NudgeBus | None = None,
    start_timeout_seconds: float = 60.0,
    read_connections: int = 5,
    write_connections: int = 2,
    give_up_seconds: float = 5.0,
) -> Store:
    """A store whose database answers. Waits for it, with back-off, and says so in the log. Does not migrate it.

    `write_connections` serve the writes that are not gathered; PostgreSQL gets one more for each kind that is.

    Raises:
        ConfigurationInvalid: the URL is not one of a database we know, or the database refuses us for good.
        StoreUnavailable: it did not answer in time.
    """
    store = Store(
        DatabaseUrl.parse(url),
        nudges=nudges or LocalNudgeBus(),
        read_connections=read_connections,
        write_connections=write_connections,
        give_up_seconds=give_up_seconds,
    )
    try:
        await _wait_until_reachable(store, start_timeout_seconds)
    except BaseException:
        await store.aclose()
        raise
    return store


class Store:
    """Fulfils the ports that speak of SQL, but for heartbeats; belongs to one event loop."""

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        nudges: NudgeBus,
        read_connections: int,
        write_connections: int,
        give_up_seconds: float,
        machine_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`machine_clock` is the database's clock where that has none of its own: SQLite."""
        self.url = url
        self._machine_clock = machine_clock
        self._reader = self._new_reader(read_connections, give_up_seconds)
        self._backends: list[Backend] = []
        clock = DatabaseClock(self._reader, machine_clock=machine_clock if url.is_sqlite else None)
        shared = self._backend(write_connections, give_up_seconds)
        single = SingleWrite(shared, nudges, give_up_seconds=give_up_seconds)
        blobs = Blobs(single, self._reader)

        def own() -> Backend:
            # A connection of its own for each kind of gathered write; SQLite has one writer in any case.
            return shared if url.is_sqlite else self._backend(1, give_up_seconds)

        self._adds: GroupCommit[TaskInsert, Inserted | Replayed] = GroupCommit(
            AddBatch(own(), nudges), give_up_seconds=give_up_seconds
        )
        self._claims = GroupCommit(
            ClaimBatch(own(), nudges),
            linger_seconds=_LINGER_SECONDS,
            give_up_seconds=give_up_seconds,
            drop_cancelled=True,
        )
        self._appends = GroupCommit(
            AppendBatch(own(), nudges), linger_seconds=_LINGER_SECONDS, give_up_seconds=give_up_seconds
        )
        ends = own()
        self._plain_ends = GroupCommit(
            PlainEndBatch(ends, nudges), linger_seconds=_LINGER_SECONDS, give_up_seconds=give_up_seconds
        )
        self._finishes = GroupCommit(
            FinishBatch(ends, nudges), linger_seconds=_LINGER_SECONDS, give_up_seconds=give_up_seconds
        )
        self._texts: GroupCommit[TextAsk, None] = GroupCommit(TextBatch(shared), give_up_seconds=give_up_seconds)
        tasks = SqlTaskStore(adds=self._adds, single=single, reader=self._reader, blobs=blobs, is_sqlite=url.is_sqlite)
        runs = SqlRunStore(
            claims=self._claims,
            appends=self._appends,
            plain_ends=self._plain_ends,
            finishes=self._finishes,
            reader=self._reader,
            blobs=blobs,
        )
        texts = SqlTextStore(texts=self._texts, single=single, reader=self._reader)
        agents = SqlAgentStore(single=single, reader=self._reader)
        approvals = SqlApprovalStore(single=single, reader=self._reader, is_sqlite=url.is_sqlite)
        signals = SqlSignalStore(single=single, reader=self._reader)
        housekeeping = SqlHousekeepingStore(
            single=single, reader=self._reader, machine_clock=machine_clock if url.is_sqlite else None
        )

        self.add_task = tasks.add_task
        self.find_submitted = tasks.find_submitted
        self.get_task = tasks.get_task
        self.list_tasks = tasks.list_tasks
        self.list_events = tasks.list_events
        self.glance = tasks.glance
        self.cancel_task = tasks.cancel_task
        self.retry_task = tasks.retry_task
        self.fork_task = SqlForkStore(single=single, tasks=tasks, blobs=blobs).fork_task
        self.list_ancestors = tasks.list_ancestors
        self.list_children = tasks.list_children
        self.task_clock = clock.now
        self.claim = runs.claim
        self.load_journal = runs.load_journal
        self.append = runs.append
        self.finish = runs.finish
        self.save_text = texts.save_text
        self.forget_text = texts.forget_text
        self.list_text = texts.list_text
        self.list_texts = texts.list_texts
        self.forget_left_text = texts.forget_left_text
        self.put_agents = agents.put_agents
        self.put_version = agents.put_version
        self.get_agent = agents.get_agent
        self.list_agents = agents.list_agents
        self.get_definition = agents.get_definition
        self.get_approval = approvals.get_approval
        self.list_approvals = approvals.list_approvals
        self.vote = approvals.vote
        self.send_signal = signals.send_signal
        self.list_signals = signals.list_signals
        schedules = SqlScheduleStore(single=single, reader=self._reader, clock=clock, is_sqlite=url.is_sqlite)
        retention = SqlRetentionStore(
            single=single,
            reader=self._reader,
            tasks=tasks,
            clock=clock,
            is_sqlite=url.is_sqlite,
        )
        self.prune_tasks = retention.prune_tasks
        self.prune_blobs = retention.prune_blobs
        self.add_schedule = schedules.add_schedule
        self.get_schedule = schedules.get_schedule
        self.list_schedules = schedules.list_schedules
        self.replace_schedule_if_unchanged = schedules.replace_schedule_if_unchanged
        self.advance_schedule_if_due = schedules.advance_schedule_if_due
        self.delete_schedule = schedules.delete_schedule
        self.list_due_schedules = schedules.list_due_schedules
        self.seconds_until_schedule = schedules.seconds_until_schedule
        self.schedule_clock = clock.now
        self.release_due = housekeeping.release_due
        self.seconds_until_due = housekeeping.seconds_until_due
        self.take_back_expired = housekeeping.take_back_expired
        self.fail_overdue = housekeeping.fail_overdue
        self.forget_silent_workers = housekeeping.forget_silent_workers
        self.backlogs = housekeeping.backlogs
        self.sweep_keys = housekeeping.sweep_keys
        queues = SqlQueueStore(reader=self._reader, clock=clock)
        self.list_queue_names = queues.list_queue_names
        self.load_queues = queues.load_queues

    async def store_health(self) -> StoreHealth:
        """One look at the database; never raises."""
        try:
            await self._reader.rows(text("SELECT 1"))
        except StoreUnavailable as error:
            # libpq speaks in several lines; this becomes one line of a log or a terminal.
            return StoreHealth(reachable=False, migrated=False, detail=" ".join(error.detail.split()))
        try:
            rows = await self._reader.rows(text("SELECT version_num FROM alembic_version"))
        except StoreUnavailable:
            rows = []
        version = rows[0]["version_num"] if rows else None
        if fits(version):
            return StoreHealth(reachable=True, migrated=True, detail=f"schema {version}")
        found = f"has schema {version}" if version else "has no schema"
        detail = f"the database {found}, this version wants {SCHEMA_REVISION}: run `ops-core db upgrade`"
        return StoreHealth(reachable=True, migrated=False, detail=detail)

    async def aclose(self) -> None:
        """Commit what waits, then let the connections go."""
        for gathered in (self._adds, self._claims, self._appends, self._plain_ends, self._finishes, self._texts):
            await gathered.aclose()
        for backend in self._backends:
            await backend.aclose()
        await self._reader.aclose()

    def _new_reader(self, connections: int, give_up_seconds: float) -> Reader:
        return Reader(self.url, pool_size=connections, timeout_seconds=give_up_seconds)

    def _backend(self, connections: int, give_up_seconds: float) -> Backend:
        backend: Backend
        if self.url.is_sqlite:
            from ops_core.storage.sqlite.backend import SqliteBackend

            backend = SqliteBackend(self.url.sqlite_path, busy_seconds=give_up_seconds, clock=self._machine_clock)
        else:
            from ops_core.storage.postgres.backend import PostgresBackend

            backend = PostgresBackend(self.url.libpq, connections=connections, answer_seconds=give_up_seconds)
        self._backends.append(backend)
        return backend


async def _wait_until_reachable(store: Store, timeout_seconds: float) -> None:
    log = get_logger()
    began, pause = time.monotonic(), 0.1
    while True:
        health = await store.store_health()
        waited = time.monotonic() - began
        if not health.reachable and is_lasting(health.detail):
            raise ConfigurationInvalid(f"{store.url} cannot be used: {health.detail}")
        if health.reachable:
            log.debug(LogEvent.store_ready, database=str(store.url), waited_seconds=round(waited, 1))
            return
        if waited + pause > timeout_seconds:
            raise StoreUnavailable(f"no answer from {store.url} within {timeout_seconds:g} s: {health.detail}")
        log.warning(
            LogEvent.store_waiting, database=str(store.url), waited_seconds=round(waited, 1), reason=health.detail
        )
        await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  so that processes do not come back in step
        pause = min(pause * 2, 5.0)
