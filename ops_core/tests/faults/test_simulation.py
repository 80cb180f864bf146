"""The simulation in its short size, and that it sees what it is for."""

from __future__ import annotations

import pytest

from ops_core.tests.faults.simulation.trial import run_seed
from ops_core.tests.faults.simulation.world import Remedies

#: So many worlds are enough for each control to fail, with a margin.
_WORLDS_OF_A_CONTROL = 300


def test_worlds_full_of_faults_come_to_rest_as_promised() -> None:
    run_seed(0, worlds=40)


@pytest.mark.parametrize(
    "remedies",
    [
        pytest.param(Remedies(fence=False), id="writes that are not fenced"),
        pytest.param(Remedies(journal=False), id="a journal that is not read"),
        pytest.param(Remedies(take_back=False), id="leases that nobody takes back"),
        pytest.param(Remedies(ring_again=False), id="tickets that nobody rings again for"),
    ],
)
def test_without_a_remedy_the_oracle_finds_something(remedies: Remedies) -> None:
    with pytest.raises(AssertionError):
        run_seed(0, worlds=_WORLDS_OF_A_CONTROL, remedies=remedies, shrink=False)
