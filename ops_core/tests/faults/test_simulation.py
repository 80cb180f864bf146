"""The simulation in its short size, and that it sees what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops_core.tests.faults.simulation.machine import template
from ops_core.tests.faults.simulation.oracle import broken_promises, come_to_rest
from ops_core.tests.faults.simulation.programs import Program
from ops_core.tests.faults.simulation.trial import run_seed
from ops_core.tests.faults.simulation.world import LEASE_SECONDS, Remedies, World

#: Enough for each control to fail, with a margin.
_WORLDS_OF_A_CONTROL = 300

# The time is for a machine that does much else at once.
pytestmark = pytest.mark.timeout(600)


def test_worlds_full_of_faults_come_to_rest_as_promised() -> None:
    run_seed(0, worlds=40)


@pytest.mark.parametrize(
    "remedies",
    [
        pytest.param(Remedies(journal=False), id="a journal that is not read"),
        pytest.param(Remedies(take_back=False), id="leases that nobody takes back"),
        pytest.param(Remedies(ring_again=False), id="tickets that nobody rings again for"),
    ],
)
def test_without_a_remedy_the_oracle_finds_something(remedies: Remedies) -> None:
    with pytest.raises(AssertionError):
        run_seed(0, worlds=_WORLDS_OF_A_CONTROL, remedies=remedies, shrink=False)


@pytest.fixture(params=[True, False], ids=["fenced", "not fenced"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, template(), remedies=Remedies(fence=request.param))
    yield made
    made.close()


def test_a_worker_that_comes_back_late_is_seen_to_write_only_without_the_fence(world: World) -> None:
    world.submit(Program(((("pay_retry", "it"),),)), key=None)
    world.deliver(0, 0)
    # Up to where the effect has happened, and nobody has written that.
    for _ in range(2):
        world.step(0, 0)
    world.advance(LEASE_SECONDS + 1)
    world.housekeep()
    world.deliver(0, 1)
    late = world.workers[0].runs[0]
    assert late.open(0)
    world.advance(0)
    come_to_rest(world)
    broken = broken_promises(world)
    assert any("stale write" in what for what in broken) == (not world.remedies.fence), broken
