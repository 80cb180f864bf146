"""Tasks that kill whatever they run in, beside some that do nothing wrong."""

from __future__ import annotations

import random
from collections.abc import Collection

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.poison_tools import KILLERS, KINDS, TOLD, agent_of
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

#: Its model takes so long that poison strikes while it runs.
NEIGHBOUR = "retry-1-1500"
_ENDS: dict[str, Collection[str]] = {
    NEIGHBOUR: ("completed",),
    **{agent_of(harm.__name__): ("failed:poison",) for harm in KILLERS},
    **{agent_of(harm.__name__): ("completed",) for harm in TOLD},
}
#: A loop that blocks is to be found out soon, and memory is not to be taken from others.
_SETTINGS = {"loop_stall_seconds": 3.0, "isolated_memory_mb": 320, "isolated_runs": 3, "concurrency": 60}


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("poison") as ledger:
        queue, without = lab.new_queue(), ("isolation",) if control else ()
        kinds = size["kinds"] or KINDS
        agents = [agent_of(kind) for kind in kinds] * size["each"] + [NEIGHBOUR] * size["neighbours"]
        rng.shuffle(agents)
        with (
            workers(system, queue, size["workers"], without=without, **_SETTINGS),
            Submitter(system.url, ledger, queue=queue) as client,
        ):
            client.submit_many(agents)
            patience = size["control_seconds"] if control else size["seconds"]
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=patience)
        return oracle.judge(
            system,
            ledger,
            lab.outside,
            expected=lambda ref: _ENDS[ledger.agent_of(ref)],
            faults=len(kinds) * size["each"],
        )


ROW = Row(
    name="poison",
    fault="tasks of 20 kinds kill, block or flood their process beside 50 that do nothing wrong",
    remedy="isolation: who has crashed twice runs alone, and only a crash there convicts",
    short={
        "kinds": ("null_pointer", "system_exit"),
        "each": 1,
        "neighbours": 4,
        "workers": 2,
        "seconds": 180.0,
        "control_seconds": 20.0,
    },
    full={"kinds": (), "each": 10, "neighbours": 50, "workers": 4, "seconds": 3600.0, "control_seconds": 60.0},
    control={
        "kinds": ("null_pointer",),
        "each": 1,
        "neighbours": 6,
        "workers": 2,
        "seconds": 0.0,
        "control_seconds": 20.0,
    },
    run=run,
)
