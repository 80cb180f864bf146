"""Workers are killed between a side effect and its record; a person decides about the tools that ask."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.people import Person, decide_all, decisions
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

KINDS = ("retry", "ask", "fail")
STEPS = 3


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("effect") as ledger:
        queue = lab.new_queue()

        def expected(ref: str) -> Collection[str]:
            is_given_up = ledger.agent_of(ref).startswith("fail-")
            return ("failed:outcome_unknown",) if is_given_up else ("completed",)

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
            Person(system.url) as person,
        ):
            agents = [f"{kind}-{STEPS}-10" for kind in KINDS] * size["kills_a_kind"]
            rng.shuffle(agents)
            for agent in agents:
                client.submit(agent, mark=f"die:effect/{rng.randint(1, STEPS)}/tool/1")
            turns, said = decisions(rng), Counter[str]()
            while True:
                oracle.settle(
                    system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=20 * len(agents)
                )
                if not (now := decide_all(person, ledger.ids, turns)):
                    break
                said += now
        tally = oracle.judge(system, ledger, lab.outside, expected=expected, faults=crew.replaced)
        tally.own["not_struck"] = max(0, len(agents) - crew.replaced)
        tally.own["not_asked"] = max(0, size["kills_a_kind"] - said.total())
        tally.seen = {f"said_{what}": count for what, count in sorted(said.items())}
        return tally


ROW = Row(
    name="effect_killed",
    fault="kill between a side effect and its record; tools `retry`, `ask`, `fail`",
    remedy="the intent, which is written before a side effect",
    # Of what is asked, one each is answered with yes, no, and a word of the person's own.
    short={"kills_a_kind": 3, "workers": 3},
    full={"kills_a_kind": 100, "workers": 6},
    control={"kills_a_kind": 1, "workers": 3},
    run=run,
)
