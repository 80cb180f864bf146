"""Workers are killed at random moments of 10-step agents, then at every boundary of the journal in turn."""

from __future__ import annotations

import random
import time

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.injected import deaths
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

STEPS = 10
AGENT = f"retry-{STEPS}-50"
#: Each step asks the model, says what it is about to do and what came of it; the answer is written with the end.
BOUNDARIES = (
    "claim",
    *(f"{side}/{n}" for n in range(1, 3 * STEPS + 1) for side in ("before", "after")),
    "finish",
    "finished",
)


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("killed") as ledger:
        queue = lab.new_queue()
        # A run that is isolated is a process of its own, which nothing has been taken from.
        without = ("journal", "isolation") if control else ()
        with (
            workers(
                system,
                queue,
                size["workers"],
                # One task each, so that a kill strikes no other.
                concurrency=1,
                injected=("deaths_of_worker",),
                without=without,
            ) as crew,
            Submitter(system.url, ledger, queue=queue) as client,
        ):
            kills = 0
            boundaries = [f"die:{boundary}" for boundary in BOUNDARIES[:: size["every_boundary"]]]
            client.submit_many([AGENT] * size["runs"])
            while kills < size["kills"]:
                if not oracle.unfinished(system.database_url, ledger):
                    client.submit_many([AGENT] * size["workers"])
                time.sleep(rng.uniform(0.2, size["pause_seconds"]))
                crew.kill_one(rng)
                kills += 1
            for mark in boundaries:
                client.submit(AGENT, mark=mark)
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control))
        tally = oracle.judge(system, ledger, lab.outside, faults=kills + len(boundaries))
        tally.own["not_struck"] = len(boundaries) - deaths(system.directory, ledger.refs)
        return tally


ROW = Row(
    name="worker_killed",
    fault="worker `kill -9` at a random moment of 10-step agents; then at every journal boundary in turn",
    remedy="the journal: what it has is recalled, not executed again",
    short={"runs": 6, "kills": 2, "pause_seconds": 1.0, "workers": 3, "every_boundary": 12},
    full={"runs": 435, "kills": 435, "pause_seconds": 1.0, "workers": 8, "every_boundary": 1},
    control={"runs": 2, "kills": 1, "pause_seconds": 1.0, "workers": 3, "every_boundary": 30},
    run=run,
)
