"""Cancels race against completions, and workers race for the same tickets."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx2

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

AGENT = "retry-1-10"
#: About what a task takes, so that a cancel comes before, in the middle and after.
LONGEST_PAUSE_SECONDS = 0.12


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    tripled = ("triple_tickets",)
    with lab.shared() as system, lab.new_ledger("race") as ledger:
        queue = lab.new_queue()
        without = ("claim_check",) if control else ()
        answers: dict[UUID, str] = {}

        def expected(ref: str) -> Collection[str]:
            """What the canceler was told holds."""
            return {
                "canceled": ("canceled",),
                "too late": ("completed",),
                "asked": ("canceled", "completed"),
                "none": ("completed",),
            }[answers.get(ledger.accepted(ref)[0], "none")]

        with (
            workers(system, queue, 3, injected=tripled, without=without),
            Submitter(system.url, ledger, queue=queue) as client,
            httpx2.Client(base_url=system.url, timeout=30) as http,
            ThreadPoolExecutor(4) as pool,
        ):
            pauses = [rng.uniform(0, LONGEST_PAUSE_SECONDS) for _ in range(size["cancels"])]
            # Side by side with tasks that several workers want.
            crowd = threading.Thread(target=client.submit_many, args=([AGENT] * size["claims"],))
            crowd.start()
            list(pool.map(lambda pause: cancel_after(client, http, pause, answers), pauses))
            crowd.join()
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control))
        tally = oracle.judge(system, ledger, lab.outside, expected=expected)
        told = list(answers.values())
        tally.faults = len(told)
        tally.seen = {answer: told.count(answer) for answer in ("canceled", "asked", "too late")}
        return tally


def cancel_after(client: Submitter, http: httpx2.Client, pause: float, answers: dict[UUID, str]) -> None:
    id = client.submit(AGENT)
    time.sleep(pause)
    answer = http.post(f"/api/v1/tasks/{id}/cancel")
    if answer.status_code == 409:
        answers[id] = "too late"
    else:
        assert answer.status_code in (200, 202), answer.text
        answers[id] = "canceled" if answer.json()["status"] == "canceled" else "asked"


ROW = Row(
    name="races",
    fault="cancel against complete, two claims at once",
    remedy="a status is written by compare-and-set on a locked row",
    short={"cancels": 40, "claims": 40},
    full={"cancels": 1000, "claims": 1000},
    control={"cancels": 0, "claims": 20},
    run=run,
)
