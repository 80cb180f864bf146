"""The fault table in its short sizes: each row holds, and its control shows that the oracle would have seen it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ops_core.tests.conftest import service_missing
from ops_core.tests.faults.lab import Lab
from ops_core.tests.faults.row import CannotRun, Row
from ops_core.tests.faults.rows import ALL
from ops_core.tests.faults.run import run_row
from ops_core.tests.faults.tally import Tally
from ops_core.tests.postgres_cluster import PostgresMissing
from ops_core.tests.rabbitmq_node import RabbitmqMissing

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

#: Chooses the moments at which faults strike.
SEED = int(os.environ.get("OPS_CORE_TEST_SEED", "1"))
EACH_ROW = pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        lab = Lab()
        lab.__enter__()
    except (PostgresMissing, RabbitmqMissing) as missing:
        service_missing(str(missing))
    yield lab
    lab.__exit__(None, None, None)


@EACH_ROW
def test_nothing_is_lost_and_nothing_is_done_twice(lab: Lab, row: Row) -> None:
    tally = outcome(lab, row, control=False)
    assert tally.tasks > 0
    assert tally.broken == {}, "\n".join(tally.findings)


@EACH_ROW
def test_without_the_remedy_the_oracle_finds_something(lab: Lab, row: Row) -> None:
    assert outcome(lab, row, control=True).found_out != {}


def outcome(lab: Lab, row: Row, *, control: bool) -> Tally:
    try:
        tally, seconds = run_row(lab, row, size="short", seed=SEED, control=control)
    except CannotRun as missing:
        service_missing(str(missing))
    print(f"{row.name}: {seconds:.1f} s, {tally}")
    return tally
