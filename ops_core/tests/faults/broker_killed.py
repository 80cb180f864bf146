"""RabbitMQ is killed under load, loses all it kept, and stops taking messages because its disk is full."""

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
    without = ("ring_again",) if control else ()
    with lab.installation(without=without) as system, lab.new_ledger("broker") as ledger:
        queue = lab.new_queue()
        with Submitter(system.url, ledger, queue=queue) as client:
            wipe_with_tasks_queued(lab, client, size["queued"])
            with workers(system, queue, 2):
                kills = kill_under_load(lab, client, size, rng)
                if size["alarm_seconds"]:
                    raise_disk_alarm(lab, client, size["alarm_seconds"])
                oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=600)
        return oracle.judge(system, ledger, lab.outside, faults=kills + 1 + bool(size["alarm_seconds"]))


def wipe_with_tasks_queued(lab: Lab, client: Submitter, queued: int) -> None:
    """Nobody works yet, so that all of these tickets are lost."""
    client.submit_many([AGENT] * queued)
    # Most have their tickets by then; whoever has none yet must be rung for all the same.
    time.sleep(0.5)
    lab.node.kill()
    lab.node.wipe()
    lab.node.start()


def kill_under_load(lab: Lab, client: Submitter, size: Size, rng: random.Random) -> int:
    """`kill -9` while tasks are submitted and run; also the submits during an outage are answered."""
    for _ in range(size["kills"]):
        submitting = threading.Thread(target=client.submit_many, args=([AGENT] * size["tasks_a_kill"],))
        submitting.start()
        time.sleep(rng.uniform(0.05, 0.4))
        lab.node.kill()
        submitting.join()
        lab.node.start()
    kills: int = size["kills"]
    return kills


def raise_disk_alarm(lab: Lab, client: Submitter, seconds: float) -> None:
    """RabbitMQ blocks whoever publishes; what is submitted meanwhile is kept."""
    lab.node.ctl("set_disk_free_limit", "1000000GB")
    try:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            client.submit(AGENT)
            time.sleep(0.2)
    finally:
        lab.node.ctl("set_disk_free_limit", "50MB")


ROW = Row(
    name="broker_killed",
    fault="broker killed under load; its data directory wiped with 500 queued; disk alarm for 60 s",
    remedy="what is queued is rung for again: the broker's messages can be lost",
    short={"queued": 20, "kills": 1, "tasks_a_kill": 20, "alarm_seconds": 1.0},
    full={"queued": 500, "kills": 30, "tasks_a_kill": 50, "alarm_seconds": 60.0},
    control={"queued": 20, "kills": 0, "tasks_a_kill": 0, "alarm_seconds": 0.0},
    run=run,
)
