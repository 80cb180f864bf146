"""Workers stand still for longer than their lease, others go on with what they held, and then they wake up."""

from __future__ import annotations

import random
import time

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import LEASE_SECONDS, Lab, quiet_seconds, stop_for
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

AGENT = "retry-10-200"


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("stopped") as ledger:
        queue = lab.new_queue()
        with (
            workers(system, queue, 2, without=("fence",) if control else ()) as crew,
            Submitter(system.url, ledger, queue=queue) as client,
        ):
            for _ in range(size["stops"]):
                client.submit_many([AGENT] * size["tasks_a_stop"])
                time.sleep(rng.uniform(0.3, 1.2))
                stop_for(rng.choice(crew.members()), LEASE_SECONDS + rng.uniform(0.5, 1.5))
                oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=60)
            # What a run that has come back would still do.
            time.sleep(1.0)
        tally = oracle.judge(system, ledger, lab.outside)
        tally.faults = tally.crashes
        tally.own["not_struck"] = int(not tally.crashes)
        return tally


ROW = Row(
    name="worker_stopped",
    fault="worker stopped (SIGSTOP) past its lease, another finishes, SIGCONT",
    remedy="the fence: a write names its claim's epoch, and who cannot renew a lease stops",
    short={"stops": 1, "tasks_a_stop": 8},
    full={"stops": 40, "tasks_a_stop": 20},
    run=run,
)
