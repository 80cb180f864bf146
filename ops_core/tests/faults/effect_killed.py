"""Workers are killed between a side effect and its record, with tools of each declaration."""

from __future__ import annotations

import random
from collections.abc import Collection

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

KINDS = ("retry", "ask", "fail")
STEPS = 3


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("effect") as ledger:
        queue = lab.new_queue()

        def expected(ref: str) -> Collection[str]:
            kind = ledger.agent_of(ref).partition("-")[0]
            # Of `ask` a person decides; nobody does here.
            return {
                "retry": ("completed",),
                "ask": ("completed", "waiting", "failed:outcome_unknown"),
                "fail": ("completed", "failed:outcome_unknown"),
            }[kind]

        with (
            workers(
                system,
                queue,
                size["workers"],
                # One task each, so that a kill strikes no other.
                concurrency=1,
                injected=("deaths_of_worker",),
                without=("intent",) if control else (),
            ) as crew,
            Submitter(system.url, ledger, queue=queue) as client,
        ):
            agents = [f"{kind}-{STEPS}-10" for kind in KINDS] * size["kills_a_kind"]
            rng.shuffle(agents)
            for agent in agents:
                client.submit(agent, mark=f"die:effect/{rng.randint(1, STEPS)}/tool/1")
            oracle.settle(
                system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=20 * len(agents)
            )
        tally = oracle.judge(system, ledger, lab.outside, expected=expected, faults=crew.replaced)
        tally.own["not_struck"] = max(0, len(agents) - crew.replaced)
        return tally


ROW = Row(
    name="effect_killed",
    fault="kill between a side effect and its record; tools `retry`, `ask`, `fail`",
    remedy="the intent, which is written before a side effect",
    short={"kills_a_kind": 2, "workers": 3},
    full={"kills_a_kind": 100, "workers": 6},
    control={"kills_a_kind": 1, "workers": 3},
    run=run,
)
