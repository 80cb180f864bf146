"""The simulated world: nodes over one file, a broker that cannot be trusted, effects that are counted, people."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from agentkit.llm.base import BaseLlmClient
from agentkit.tools.base import OnUnknown, ToolContext
from agentkit.tools.function import tool
from agentkit.tools.registry import ToolRegistry
from agentkit.tools.waiting import ask_person, sleep, wait_for_signal
from ops_core.domain.agent import ModelChoice
from ops_core.domain.approval import Approval, ApprovalStatus, Decision, NewVote
from ops_core.domain.caller import Caller
from ops_core.domain.event import Event, NewEvent, StepPhase
from ops_core.domain.retry import RetryPolicy
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import RetryFrom, Task, TaskStatus
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import OpsCoreError
from ops_core.ports import ApprovalQuery, Lease, Ring, RunStopReason, WorkerInfo
from ops_core.runner.build_agent import AgentBuilder
from ops_core.runner.children import Children
from ops_core.runner.run_task import TaskRunner
from ops_core.services.housekeeper import Housekeeper
from ops_core.services.limits import TaskLimits
from ops_core.services.relay import spread
from ops_core.services.submission_check import SubmissionCheck
from ops_core.services.tasks import Submission, TaskService
from ops_core.storage.nudges import LocalNudgeBus
from ops_core.storage.sqlite.leases import SqliteLeaseStore
from ops_core.tests.faults.simulation.node import Fault, Life, NodeStore, until_alive
from ops_core.tests.faults.simulation.programs import AGENT, DEFINITION, Program, ProgramLlm
from ops_core.tests.faults.simulation.virtual_time import VirtualLoop

LEASE_SECONDS = 30.0
MAX_CRASHES = 1_000
LIMITS = TaskLimits(
    max_goal_chars=10_000, max_input_bytes=100_000, max_json_depth=30, max_batch=10, max_wait_seconds=1.0
)
_CALLER = Caller(subject="sim")


@dataclass(slots=True)
class Remedies:
    """What the product has against faults; a control takes one away."""

    #: A write names its epoch.
    fence: bool = True
    #: What is journaled is recalled.
    journal: bool = True
    #: The housekeeper takes back what a dead worker held.
    take_back: bool = True
    #: The housekeeper rings again for what has no ticket.
    ring_again: bool = True


@dataclass(slots=True)
class Effects:
    """The world outside: what it was told to do, by idempotency key and tool."""

    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Repeats that a person had said yes to.
    allowed: Counter[str] = field(default_factory=Counter)


class Run:
    """One task in one worker (ports.RunControl), which goes on when its gate is opened."""

    def __init__(self, world: World, worker: Worker, task: Task) -> None:
        self.task = task
        self.lease = Lease(task.id, task.epoch)
        self.world = world
        self._worker = worker
        self._reason: RunStopReason | None = None
        self._renewed_at = world.loop.time()
        self._gates: list[asyncio.Future[None]] = []
        self.running: asyncio.Task[Any] | None = None
        self._is_undisturbed = False

    @property
    def stop_reason(self) -> RunStopReason | None:
        late = self.world.loop.time() - self._renewed_at > LEASE_SECONDS * 2 / 3
        return RunStopReason.lost if late else self._reason

    @property
    def is_over(self) -> bool:
        return self.running is None or self.running.done()

    async def gate(self, _: str) -> None:
        """Park here until somebody opens."""
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gates.append(gate)
        await gate
        await until_alive(self._worker.life)

    def open(self, which: int) -> bool:
        """Let one of the calls that are parked go on; False when none is."""
        self._gates = [gate for gate in self._gates if not gate.done()]
        if not self._gates:
            return False
        self._gates.pop(which % len(self._gates)).set_result(None)
        return True

    def renewed(self, sent_at: float) -> None:
        self._renewed_at = sent_at

    def stop(self, reason: RunStopReason, *, now: bool) -> None:
        if self._reason is None:
            self._reason = reason
            if now and self.running is not None and not self._is_undisturbed:
                self.running.cancel()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        self._is_undisturbed = True
        try:
            yield
        finally:
            self._is_undisturbed = False


class Node:
    """A process: its store, and whether it lives."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.life = Life()
        self.nudges = LocalNudgeBus()
        self.store = NodeStore(world.file, life=self.life, nudges=self.nudges, loop=world.loop)

    def announce(self, rings: Sequence[Ring]) -> None:
        """The relay: what it rings is on its way at once. The broker may still lose it."""
        if not self.life.dead:
            self.world.broker.extend(ticket for ring in rings for ticket in spread(ring))


class Api(Node):
    """A process with the services that callers use."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tasks = TaskService(
            tasks=self.store,
            agents=self.store,
            relay=self,
            nudges=self.nudges,
            limits=LIMITS,
            model_check=lambda _: None,
            clock=world.loop.utc,
        )


class Keeper(Node):
    """A process with the housekeeper."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        store: Any = self.store
        if not world.remedies.take_back:
            store.take_back_expired = _nothing
        if not world.remedies.ring_again:
            store.backlogs = _nothing
        self.housekeeper = Housekeeper(
            store,
            _Doorbell(world),
            self,  # type: ignore[arg-type]  # it announces, which is all that is asked of it
            interval_seconds=1.0,
            ring_again_seconds=10.0,
            max_crashes=MAX_CRASHES,
            clock=world.loop.time,
        )


class Worker(Node):
    """A process that runs tasks."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world)
        self.name = name
        self.runs: list[Run] = []
        self._leases = SqliteLeaseStore(world.file, clock=world.loop.utc)

    async def take(self, ticket: Ring) -> None:
        claimed = await self.store.claim(
            ticket.queue, limit=ticket.count, worker_id=self.name, lease_seconds=LEASE_SECONDS
        )
        for task in claimed:
            run = Run(self.world, self, task)
            runner = TaskRunner(
                runs=_RunStore(self, run),
                agents=self.store,
                builder=_Builder(self, run),
                children=self._children(),
                announce=self.announce,
                retry_policy=RetryPolicy(base_seconds=1.0, max_seconds=4.0),
                rng=random.Random(task.epoch),
            )
            self.runs.append(run)
            run.running = asyncio.get_running_loop().create_task(_running(runner, run))

    def _children(self) -> Children:
        check = SubmissionCheck(
            tasks=self.store,
            agents=self.store,
            limits=LIMITS,
            model_check=lambda _: None,
            clock=self.world.loop.utc,
        )
        return Children(tasks=self.store, agents=self.store, check=check, max_depth=3)

    def heartbeat(self) -> None:
        """Renew what is held; stop what is lost or to be canceled."""
        held = [run for run in self.runs if not run.is_over]
        sent_at = self.world.loop.time()
        info = WorkerInfo(
            worker_id=self.name,
            hostname="sim",
            pid=1,
            version="0",
            queues=("default",),
            slots=8,
            busy=1,
            draining=False,
        )
        renewal = self._leases.renew([run.lease for run in held], worker=info, lease_seconds=LEASE_SECONDS)
        for run in held:
            if run.lease not in renewal.kept:
                run.stop(RunStopReason.lost, now=True)
            else:
                run.renewed(sent_at)
                if run.lease in renewal.cancel:
                    run.stop(RunStopReason.cancel, now=True)

    def drain(self) -> None:
        for run in self.runs:
            run.stop(RunStopReason.drain, now=False)

    def let_go(self) -> None:
        self._leases.close()


class World:
    """Everything of one seed."""

    def __init__(self, folder: Path, template: Path, *, remedies: Remedies | None = None) -> None:
        self.remedies = remedies or Remedies()
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(lambda loop, context: None)
        self.file = folder / "ops.db"
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(template, self.file)
        self.broker: list[Ring] = []
        self.effects = Effects()
        self.accepted: dict[UUID, Program] = {}
        #: Steps that were executed although their result was in the journal.
        self.executed_again: list[str] = []
        #: Writes of a run that was over.
        self.stale_writes: list[str] = []
        #: The epoch that wrote a step's event.
        self.writers: dict[tuple[UUID, int], int] = {}
        self.rate_limits_left = 0
        self.ids = Uuid7Source()
        self._dead: list[Node] = []
        self.api = Api(self)
        self.keeper = Keeper(self)
        self.workers = [Worker(self, "w0"), Worker(self, "w1")]
        self.do(self.api.store.put_agents("default", [DEFINITION]))

    def do(self, work: Any) -> Any:
        """Run this to its end, or to the death of its node, and everybody else to where they park."""

        async def settle() -> Any:
            doing = asyncio.ensure_future(work)
            await self._settled(doing)
            if doing.done():
                return doing.result()
            return None

        try:
            return self.loop.run_until_complete(settle())
        except OpsCoreError as refused:
            return refused
        finally:
            self._bury()

    def advance(self, seconds: float) -> None:
        """Let time pass: timers fire, whoever paused tries again."""

        async def sleep_and_settle() -> None:
            await asyncio.sleep(seconds)
            await self._until_nobody_can_go_on()

        self.loop.run_until_complete(sleep_and_settle())
        self._bury()

    async def _settled(self, doing: asyncio.Future[Any]) -> None:
        await self._until_nobody_can_go_on()
        while not doing.done() and not self._someone_died():
            # It pauses before it tries again, or lets time pass.
            await asyncio.sleep(0.05)
            await self._until_nobody_can_go_on()

    async def _until_nobody_can_go_on(self) -> None:
        while True:
            await asyncio.sleep(0)
            if not self.loop._ready:  # type: ignore[attr-defined]  # what asyncio would run next
                return

    def _someone_died(self) -> bool:
        return any(node.life.dead for node in self._nodes())

    def _nodes(self) -> list[Node]:
        return [self.api, self.keeper, *self.workers]

    def _bury(self) -> None:
        """A process that died is started again, with nothing in its memory."""
        for index, worker in enumerate(self.workers):
            if worker.life.dead:
                self._dead.append(worker)
                self.workers[index] = Worker(self, f"w{index}-{len(self._dead)}")
        if self.api.life.dead:
            self._dead.append(self.api)
            self.api = Api(self)
        if self.keeper.life.dead:
            self._dead.append(self.keeper)
            self.keeper = Keeper(self)

    def is_rate_limited(self) -> bool:
        self.rate_limits_left -= 1
        return self.rate_limits_left >= 0

    # what clients and people do

    def submit(self, program: Program, *, key: str | None, **more: Any) -> None:
        submission = Submission(agent=AGENT, goal=program.goal(), idempotency_key=key, **more)
        submitted = self.do(self.api.tasks.submit(_CALLER, submission))
        if submitted is not None and not isinstance(submitted, OpsCoreError):
            self.accepted[submitted.task.id] = program

    def cancel(self, id: UUID) -> None:
        self.do(self.api.tasks.cancel(_CALLER, id))

    def retry(self, id: UUID, retry_from: RetryFrom) -> None:
        self.do(self.api.tasks.retry(_CALLER, id, retry_from=retry_from))

    def signal(self, id: UUID, name: str) -> None:
        async def send() -> None:
            new = NewSignal(id=self.ids.new(), name=name, payload={"n": 1}, sent_by="sim")
            sent = await self.api.store.send_signal("default", id, new, max_kept=100)
            self.api.announce(sent.rings)

        self.do(send())

    def pending_approvals(self) -> Sequence[Approval]:
        query = ApprovalQuery(namespace="default", statuses=frozenset({ApprovalStatus.pending}), limit=100)
        found = self.do(self.api.store.list_approvals(query))
        return found if isinstance(found, list | tuple) else []

    def decide(self, approval: Approval, decision: Decision) -> None:
        if decision not in approval.request.allowed:
            return
        vote = NewVote(decision=decision, by="ada", reason="so", response="an answer", arguments={"what": "edited"})

        async def decide() -> None:
            voted = await self.api.store.vote("default", approval.id, vote, check=lambda _: None)
            self.api.announce(voted.rings)

        self.do(decide())

    # what the system does

    def deliver(self, which: int, worker: int, *, double: bool = False) -> None:
        if not self.broker:
            return
        ticket = self.broker[which % len(self.broker)]
        if not double:
            self.broker.remove(ticket)
        self.do(self.workers[worker % len(self.workers)].take(ticket))

    def step(self, which: int, gate: int) -> bool:
        runs = self.live_runs()
        if not runs:
            return False
        opened = runs[which % len(runs)].open(gate)
        self.do(asyncio.sleep(0))
        return opened

    def live_runs(self) -> list[Run]:
        return [run for worker in self.workers for run in worker.runs if not run.is_over]

    def housekeep(self) -> None:
        self.do(self.keeper.housekeeper.tick())

    def heartbeat(self, worker: int) -> None:
        self.workers[worker % len(self.workers)].heartbeat()
        self.do(asyncio.sleep(0))

    def kill(self, node: Node) -> None:
        node.life.dead = True
        self._bury()

    def plan(self, node: Node, fault: Fault, commits: int) -> None:
        node.life.plan(fault, commits)

    def close(self) -> None:
        for node in [*self._nodes(), *self._dead]:
            node.life.dead = True
            node.store.let_go()
            if isinstance(node, Worker):
                node.let_go()
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # those of dead processes never end
        self.loop.close()


async def _nothing(*args: Any, **named: Any) -> list[Any]:
    return []


class _Doorbell:
    """Only asked how many tickets there are."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ring(self, rings: Sequence[Ring]) -> None:
        self._world.broker.extend(rings)

    async def ready(self, queue: str) -> int:
        return sum(ticket.count for ticket in self._world.broker if ticket.queue == queue)


async def _running(runner: TaskRunner, run: Run) -> None:
    _RUN.set(run)
    await runner.run(run.task, run)


class _RunStore:
    """The worker's store, watched: is a write accepted that should not be, is a step executed that was done?"""

    def __init__(self, worker: Worker, run: Run) -> None:
        self._worker = worker
        self._run = run
        self._world = worker.world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker.store, name)

    async def load_journal(self, task_id: UUID, *, round: int) -> Sequence[Event]:
        if not self._world.remedies.journal:
            return ()
        return await self._worker.store.load_journal(task_id, round=round)

    async def append(self, lease: Lease, event: NewEvent) -> int:
        if event.phase is StepPhase.result:
            await self._must_be_new(event)
        current = await self._worker.store.get_task("default", lease.task_id)
        assert current is not None
        if not self._world.remedies.fence:
            lease = Lease(lease.task_id, current.epoch)
        seq = await self._worker.store.append(lease, event)
        if (current.epoch, current.status) != (self._run.lease.epoch, TaskStatus.running):
            self._world.stale_writes.append(f"{lease.task_id} {event.step_key} by epoch {self._run.lease.epoch}")
        self._world.writers[(lease.task_id, seq)] = self._run.lease.epoch
        return seq

    async def _must_be_new(self, event: NewEvent) -> None:
        task = self._run.task
        for known in await self._worker.store.load_journal(task.id, round=task.round):
            same = (known.step_key, known.phase) == (event.step_key, StepPhase.result)
            if same and self._world.writers.get((task.id, known.seq)) != self._run.lease.epoch:
                self._world.executed_again.append(f"{task.id} {event.step_key}")


class _Builder(AgentBuilder):
    """The real one, but for the model and the tools."""

    def __init__(self, worker: Worker, run: Run) -> None:
        super().__init__(tools=[_TOOLS], mcp_servers={})
        self._run = run
        self._world = worker.world

    async def _model(self, choice: ModelChoice) -> BaseLlmClient:
        return ProgramLlm(self._run.gate, self._world.is_rate_limited)


_RUN: ContextVar[Run] = ContextVar("the run that calls")


async def _act(name: str, what: str, context: ToolContext) -> str:
    run = _RUN.get()
    await run.gate(name)
    run.world.effects.sent[(name, context.idempotency_key)] += 1
    # A process may die here: the effect has happened, and nobody has written that.
    await run.gate(name)
    return f"{name} {what}"


@tool(on_unknown=OnUnknown.retry)
async def pay_retry(what: str, context: ToolContext) -> str:
    """Pay."""
    return await _act("pay_retry", what, context)


@tool(on_unknown=OnUnknown.ask)
async def pay_ask(what: str, context: ToolContext) -> str:
    """Pay."""
    return await _act("pay_ask", what, context)


@tool(on_unknown=OnUnknown.fail)
async def pay_fail(what: str, context: ToolContext) -> str:
    """Pay."""
    return await _act("pay_fail", what, context)


@tool(on_unknown=OnUnknown.retry)
async def guarded(what: str, context: ToolContext) -> str:
    """Do what a person has approved."""
    return await _act("guarded", what, context)


@tool(side_effect=False)
async def look(what: str) -> str:
    """Look."""
    await _RUN.get().gate("look")
    return what


_TOOLS = ToolRegistry([pay_retry, pay_ask, pay_fail, guarded, look, ask_person, sleep, wait_for_signal])
