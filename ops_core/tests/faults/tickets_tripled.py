"""Every ticket is published three times, and all connections to RabbitMQ are closed again and again."""

from __future__ import annotations

import random
import threading
import time

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

AGENT = "retry-3-10"


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    tripled = ("triple_tickets",)
    without = ("claim_check",) if control else ()
    with lab.system(injected=tripled) as system, lab.new_ledger("tripled") as ledger:
        queue = lab.new_queue()
        with (
            workers(system, queue, 3, injected=tripled, without=without),
            Submitter(system.url, ledger, queue=queue) as client,
        ):
            submitting = threading.Thread(target=client.submit_many, args=([AGENT] * size["tasks"],))
            submitting.start()
            closed = 0
            while closed < size["closings"] or submitting.is_alive():
                time.sleep(size["every_seconds"] * rng.uniform(0.5, 1.0))
                lab.node.ctl("close_all_connections", "a fault on purpose")
                closed += 1
            submitting.join()
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=900)
        return oracle.judge(system, ledger, lab.outside, faults=closed)


ROW = Row(
    name="tickets_tripled",
    fault="every ticket published three times; all connections to the broker closed every 5 s",
    remedy="the claim decides: a ticket gives no right to run",
    short={"tasks": 60, "closings": 1, "every_seconds": 1.0},
    full={"tasks": 2000, "closings": 6, "every_seconds": 5.0},
    control={"tasks": 20, "closings": 0, "every_seconds": 0.5},
    run=run,
)
