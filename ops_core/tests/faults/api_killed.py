"""The API is killed at four points around the commit of a submit; its client asks again under the same key."""

from __future__ import annotations

import random

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import Crew, workers
from ops_core.tests.faults.lab import Lab, all_listen, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally
from ops_core.tests.free_port import free_port
from ops_core.tests.journeys.system import Process

AGENT = "retry-1-1"
POINTS = ("before_anything", "before_commit", "after_commit", "after_ring")


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with (
        lab.installation(without=("ring_again",) if control else ()) as system,
        lab.new_ledger("api") as ledger,
    ):
        queue, port = lab.new_queue(), free_port()

        def begin() -> Process:
            return system.begin_api(port=port, injected=("deaths_of_api",))[0]

        with (
            workers(system, queue, 1),
            Crew(begin, 1, ready=lambda _: all_listen([f"http://127.0.0.1:{port}"])) as apis,
            Submitter(f"http://127.0.0.1:{port}", ledger, queue=queue) as client,
        ):
            marks = [f"die:{point}" for point in POINTS] * size["kills_a_point"]
            marks += [""] * (size["submits"] - len(marks))
            rng.shuffle(marks)
            for mark in marks:
                client.submit(AGENT, mark=mark)
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control))
        tally = oracle.judge(system, ledger, lab.outside, faults=apis.replaced)
        tally.seen["unanswered"] = client.unanswered
        return tally


ROW = Row(
    name="api_killed",
    fault="API killed at four points around the commit of a submit",
    remedy="what nobody was rung for is rung for again by the housekeeper",
    short={"submits": 24, "kills_a_point": 2},
    full={"submits": 1000, "kills_a_point": 50},
    control={"submits": 8, "kills_a_point": 1},
    run=run,
)
