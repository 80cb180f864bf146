"""Agents run for longer than RabbitMQ waits for an acknowledgement."""

from __future__ import annotations

import random

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    # A channel reads both when it is opened. The default tick of 60 s would hide the timeout.
    lab.set_in_node(consumer_timeout=size["consumer_timeout"], channel_tick_interval=size["channel_tick_interval"])
    try:
        with lab.shared() as system, lab.new_ledger("long") as ledger:
            queue = lab.new_queue()
            with (
                workers(
                    system,
                    queue,
                    2,
                    concurrency=60,
                    # No lease must be lost here, also on a machine that is busy with other things.
                    lease_seconds=30.0,
                    without=("early_acknowledgement",) if control else (),
                ) as crew,
                Submitter(system.url, ledger, queue=queue) as client,
            ):
                agents = [f"retry-1-{delay}" for delay in size["model_ms"]] * size["tasks_a_length"]
                rng.shuffle(agents)
                client.submit_many(agents)
                oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=180)
                lost = sum(worker.output().count('"event": "broker.lost"') for worker in crew.members())
            tally = oracle.judge(system, ledger, lab.outside)
            starts = oracle.starts(system.database_url, ledger)
    finally:
        lab.set_in_node(consumer_timeout=1_800_000, channel_tick_interval=60_000)
    # The model is asked twice: for the charge, and for the answer.
    tally.faults = sum(2 * delay > size["consumer_timeout"] for delay in size["model_ms"]) * size["tasks_a_length"]
    tally.own |= {"started_again": starts - tally.tasks, "channels_closed": lost}
    return tally


ROW = Row(
    name="long_agents",
    fault="agents longer than the broker's ack timeout (`consumer_timeout=10000`, `channel_tick_interval=1000`)",
    remedy="a ticket is acknowledged as soon as its claim has committed",
    short={"model_ms": [1500, 2000], "tasks_a_length": 5, "consumer_timeout": 1000, "channel_tick_interval": 300},
    full={
        "model_ms": [4000, 8000, 12000, 16000, 20000],
        "tasks_a_length": 10,
        "consumer_timeout": 10_000,
        "channel_tick_interval": 1000,
    },
    run=run,
)
