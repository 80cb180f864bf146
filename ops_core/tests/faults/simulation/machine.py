"""The state machine: what may happen next, chosen by Hypothesis."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ops_core.domain.approval import Decision
from ops_core.domain.task import RetryFrom
from ops_core.storage.migrations import upgrade
from ops_core.tests.faults.simulation.node import Fault
from ops_core.tests.faults.simulation.oracle import broken_promises, come_to_rest
from ops_core.tests.faults.simulation.programs import EFFECTS, Program
from ops_core.tests.faults.simulation.world import Remedies, World

_INDEX = st.integers(0, 5)
_LEAF = st.one_of(
    st.tuples(st.sampled_from([*EFFECTS, "look", "guarded"]), st.just("it")),
    st.tuples(st.just("sleep"), st.sampled_from([1.0, 60.0])),
    st.tuples(st.just("wait_for_signal"), st.just("go")),
    st.tuples(st.just("ask_person"), st.just("Which?")),
)
_TURNS = st.lists(st.lists(_LEAF, min_size=1, max_size=2), max_size=3)
_ACTION = st.one_of(_LEAF, _LEAF, st.tuples(st.just("child"), _TURNS))
_PROGRAMS = st.lists(st.lists(_ACTION, min_size=1, max_size=3), max_size=3).map(
    lambda turns: Program(tuple(tuple(turn) for turn in turns))
)


class Simulation(RuleBasedStateMachine):
    """One world, in which anything may go wrong at any time; in the end everything must be as promised."""

    remedies = Remedies()

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="ops-core-sim-", dir=_memory_folder())
        self.world = World(Path(self._folder.name), template(), remedies=self.remedies)
        self._keys = 0

    @rule(program=_PROGRAMS, twice=st.booleans())
    def submit(self, program: Program, twice: bool) -> None:
        self._keys += 1
        for _ in range(1 + twice):
            self.world.submit(program, key=f"key-{self._keys}")

    @rule(which=_INDEX, worker=_INDEX, double=st.booleans())
    def deliver(self, which: int, worker: int, double: bool) -> None:
        self.world.deliver(which, worker, double=double)

    @rule(which=_INDEX)
    def lose_a_ticket(self, which: int) -> None:
        if self.world.broker:
            self.world.broker.pop(which % len(self.world.broker))

    @rule(steps=st.lists(st.tuples(_INDEX, _INDEX), min_size=1, max_size=6))
    def go_on(self, steps: list[tuple[int, int]]) -> None:
        for which, gate in steps:
            self.world.step(which, gate)

    @rule(seconds=st.sampled_from([0.5, 5.0, 35.0, 700.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(worker=_INDEX)
    def beat(self, worker: int) -> None:
        self.world.heartbeat(worker)

    @rule()
    def keep_house(self) -> None:
        self.world.housekeep()

    @rule(worker=_INDEX)
    def kill_a_worker(self, worker: int) -> None:
        self.world.kill(self.world.workers[worker % 2])

    @rule(worker=_INDEX)
    def drain_a_worker(self, worker: int) -> None:
        self.world.workers[worker % 2].drain()

    @rule(node=_INDEX, fault=st.sampled_from(Fault), commits=st.integers(0, 4))
    def let_a_commit_fail(self, node: int, fault: Fault, commits: int) -> None:
        nodes = [self.world.api, self.world.keeper, *self.world.workers]
        self.world.plan(nodes[node % len(nodes)], fault, commits)

    @rule(times=st.integers(1, 3))
    def limit_the_model(self, times: int) -> None:
        self.world.rate_limits_left = times

    @rule(which=_INDEX)
    def cancel(self, which: int) -> None:
        if accepted := list(self.world.accepted):
            self.world.cancel(accepted[which % len(accepted)])

    @rule(which=_INDEX, retry_from=st.sampled_from([RetryFrom.journal, RetryFrom.scratch]))
    def retry(self, which: int, retry_from: RetryFrom) -> None:
        if accepted := list(self.world.accepted):
            self.world.retry(accepted[which % len(accepted)], retry_from)

    @rule(which=_INDEX)
    def signal(self, which: int) -> None:
        if accepted := list(self.world.accepted):
            self.world.signal(accepted[which % len(accepted)], "go")

    @rule(which=_INDEX, decision=st.sampled_from(Decision))
    def decide(self, which: int, decision: Decision) -> None:
        if pending := self.world.pending_approvals():
            self.world.decide(pending[which % len(pending)], decision)

    def teardown(self) -> None:
        try:
            come_to_rest(self.world)
            broken: Any = broken_promises(self.world)
            assert not broken, broken
        finally:
            self.world.close()
            self._folder.cleanup()


@cache
def template() -> Path:
    """An empty database with the schema, made once."""
    folder = Path(tempfile.mkdtemp(prefix="ops-core-sim-"))
    upgrade(f"sqlite:///{folder / 'empty.db'}")
    return folder / "empty.db"


def _memory_folder() -> str | None:
    """Where files cost no disk, if there is such a place."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > 200_000_000 else None
