"""One seed: a number of worlds, each with up to 50 steps."""

from __future__ import annotations

import logging
import traceback

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from ops_core.tests.faults.simulation.machine import Simulation
from ops_core.tests.faults.simulation.world import Remedies

WORLDS_A_SEED = 100
STEPS = 50


def run_seed(seed: int, *, worlds: int = WORLDS_A_SEED, remedies: Remedies | None = None, shrink: bool = True) -> None:
    """Raises:
    AssertionError: a promise was broken; the notes say the steps, as few as could be found when it is to `shrink`.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    @seeded(seed)
    class Seeded(Simulation):
        pass

    Seeded.remedies = remedies or Remedies()
    run_state_machine_as_test(
        Seeded,
        settings=settings(
            max_examples=worlds,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            report_multiple_bugs=False,
        ),
    )


def tried(seed: int) -> str | None:
    """None when all worlds of the seed are right, else what is wrong with the smallest that is not.

    Not beside the command that runs many: a spawned process cannot import a package's `__main__`.
    """
    try:
        run_seed(seed)
    except Exception:  # noqa: BLE001  whatever went wrong in a world is what this is for
        return traceback.format_exc()
    return None
