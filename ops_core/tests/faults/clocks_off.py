"""The clocks of one worker and of the API are two hours off, in different directions."""

from __future__ import annotations

import glob
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, all_listen, quiet_seconds, takes_tickets
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import CannotRun, Row, Size
from ops_core.tests.faults.tally import Tally
from ops_core.tests.journeys.system import until

AGENT = "retry-10-50"
HOURS = 2
#: Only the worker that is killed may lose one, also on a machine that is busy with other things.
LONG_LEASE_SECONDS = 30.0
#: Tasks that are due later, by the clock of who asks, which is right.
DUE_SECONDS = 2.0


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    ahead, behind = false_clock(lab, HOURS), false_clock(lab, -HOURS)
    with lab.shared() as system, lab.new_ledger("clock") as ledger:
        queue = lab.new_queue()
        without = ("database_clock",) if control else ()
        # One that is killed under way leaves leases behind; one that lives renews its own.
        slow = system.begin_worker(queue, name="behind", lease_seconds=LONG_LEASE_SECONDS, without=without, **behind)
        fast = system.begin_worker(queue, name="ahead", without=without, **ahead)
        urls = [system.begin_api(**false_clock(lab, hours))[1] for hours in size["api_hours"]]
        for worker in (slow, fast):
            takes_tickets(worker)
        all_listen(urls)
        for url in urls:
            with Submitter(url, ledger, queue=queue) as client:
                submitting = threading.Thread(target=client.submit_many, args=([AGENT] * size["tasks"],))
                submitting.start()
                if url == urls[0]:
                    until(lambda: oracle.held_by(system.database_url, fast.pid), what="the one to be killed has a task")
                    time.sleep(rng.uniform(0.0, 0.2))
                    fast.kill()
                submitting.join()
        # To an API that is ahead this is long past by its own clock.
        due_at = datetime.now(UTC) + timedelta(seconds=DUE_SECONDS)
        due: list[UUID] = []
        for url in urls:
            with Submitter(url, ledger, queue=queue) as client:
                due += client.submit_many([AGENT] * size["due"], run_at=due_at.isoformat())
        with workers(system, queue, 1, lease_seconds=LONG_LEASE_SECONDS, without=without):
            # Leases that a clock has put into the future would keep the control waiting for hours.
            longest = 8 if control else 120
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=longest)
        tally = oracle.judge(system, ledger, lab.outside, faults=2 + len(urls))
        tally.own["started_early"] = oracle.started_before(system.database_url, due, due_at)
        # A worker whose clock is wrong holds its leases as well as any other: only the one that was killed lost some.
        tally.own["leases_lost_alive"] = oracle.leases_lost(system.database_url, ledger, but_of=fast.name)
        tally.own["not_struck"] = int(not tally.crashes)
        return tally


def false_clock(lab: Lab, hours: int) -> dict[str, Any]:
    """What starts a process whose clock is so far off.

    Raises:
        CannotRun: libfaketime is not here.
    """
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + glob.glob("/usr/lib/faketime/libfaketimeMT.so.1")
    if not found:
        raise CannotRun("no libfaketime on this machine (Debian: apt-get install libfaketime)")
    # Without the last, time-outs would be measured by a clock that jumps.
    preload = {"LD_PRELOAD": found[0], "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"nursery": lab.nursery_under(preload), "injected": ("false_clock",)}


ROW = Row(
    name="clocks_off",
    fault="clocks two hours off on workers and on the API",
    remedy="leases and due times are judged by the database's clock",
    short={"tasks": 10, "due": 2, "api_hours": [-HOURS, HOURS]},
    full={"tasks": 100, "due": 10, "api_hours": [-HOURS, HOURS]},
    control={"tasks": 20, "due": 0, "api_hours": [-HOURS]},
    run=run,
)
