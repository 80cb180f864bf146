"""Every process is restarted in turn while tasks are submitted and run: as at a deploy, without a pause."""

from __future__ import annotations

import random
import threading
import time

from ops_core.tests.faults import oracle
from ops_core.tests.faults.lab import Lab, all_listen, quiet_seconds, takes_tickets
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally
from ops_core.tests.free_port import free_port

AGENTS = ("retry-10-200", "retry-3-10", "ask-3-10", "fail-3-10")


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("rolling") as ledger:
        queue, port = lab.new_queue(), free_port()
        without = ("hand_over",) if control else ()
        workers = [system.begin_worker(queue, without=without, lease_seconds=size["lease_seconds"]) for _ in range(2)]
        api, url = system.begin_api(port=port)
        for worker in workers:
            takes_tickets(worker)
        all_listen([url])
        ended = threading.Event()
        with Submitter(url, ledger, queue=queue) as client:
            submitting = threading.Thread(target=submit_until, args=(client, ended, rng, size))
            submitting.start()
            for restart in range(size["restarts"]):
                time.sleep(size["every_seconds"])
                if restart % 3 == 2:
                    api.stop()
                    api, _ = system.begin_api(port=port)
                else:
                    # The new one first, as a deploy would.
                    workers.append(system.begin_worker(queue, without=without, lease_seconds=size["lease_seconds"]))
                    takes_tickets(workers[-1])
                    workers.pop(0).stop()
            ended.set()
            submitting.join()
        oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=300)
        tally = oracle.judge(system, ledger, lab.outside, faults=size["restarts"])
        tally.own |= {"leases_lost": tally.crashes, "attempts_spent": oracle.attempts(system.database_url, ledger)}
        tally.own["attempts_spent"] -= tally.tasks
        return tally


def submit_until(client: Submitter, ended: threading.Event, rng: random.Random, size: Size) -> None:
    while not ended.wait(1 / size["tasks_a_second"]):
        client.submit(rng.choice(size.get("agents", AGENTS)))


ROW = Row(
    name="rolling_restart",
    fault="rolling restart every 20 s at load",
    remedy="a worker that is told to stop hands its tasks over",
    # No lease must be lost here, also on a machine that is busy with other things; those that the control abandons are.
    short={"restarts": 3, "every_seconds": 1.0, "tasks_a_second": 8, "lease_seconds": 30.0},
    full={"restarts": 45, "every_seconds": 20.0, "tasks_a_second": 8, "lease_seconds": 30.0},
    # All of them run for seconds, so that there is something to abandon.
    control={
        "restarts": 1,
        "every_seconds": 1.0,
        "tasks_a_second": 8,
        "lease_seconds": 3.0,
        "agents": ("retry-10-200",),
    },
    run=run,
)
