"""Readers of event streams are cut off again and again, and go on at another API process where they were."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx2

from ops_core.client.sse import ServerSentEvent, parse_events
from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, all_listen, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

AGENT = "retry-10-50"
CUTS = 5


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("stream") as ledger:
        queue = lab.new_queue()
        urls = [system.begin_api(without=("resumption",) if control else ())[1] for _ in range(2)]
        all_listen(urls)
        with workers(system, queue, 1, concurrency=100), Submitter(system.url, ledger, queue=queue) as client:
            ids = client.submit_many([AGENT] * size["streams"])
            cuts = [[rng.randint(1, 8) for _ in range(CUTS)] for _ in ids]
            with ThreadPoolExecutor(size["at_once"]) as pool:
                read = list(pool.map(lambda id, after: read_with_cuts(urls, id, after), ids, cuts))
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control))
        tally = oracle.judge(system, ledger, lab.outside, faults=CUTS * len(ids))
        numbers = oracle.last_numbers(system.database_url, ledger)
        tally.own = {"events_missed": 0, "events_doubled": 0}
        for id, seqs in zip(ids, read, strict=True):
            tally.own["events_missed"] += len(set(range(1, numbers[id] + 1)) - set(seqs))
            tally.own["events_doubled"] += len(seqs) - len(set(seqs))
        return tally


def read_with_cuts(urls: Sequence[str], id: UUID, cuts: Sequence[int]) -> list[int]:
    """The numbers of all events, of which each connection but the last gives only so many."""
    seqs: list[int] = []
    for connection, at_most in enumerate([*cuts, None]):
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(seqs[-1] if seqs else 0)}
        url = f"{urls[connection % len(urls)]}/api/v1/tasks/{id}/events"
        with httpx2.stream("GET", url, headers=headers, timeout=60) as response:
            if response.status_code == 204:
                break
            for item in parse_events(response.iter_text()):
                if isinstance(item, ServerSentEvent) and item.event != "text":
                    seqs.append(int(item.id))
                    at_most = None if at_most is None else at_most - 1
                    if at_most == 0:
                        break
    return seqs


ROW = Row(
    name="streams_cut",
    fault="streams cut five times each",
    remedy="a reader goes on after the number it has",
    short={"streams": 8, "at_once": 8},
    full={"streams": 200, "at_once": 20},
    control={"streams": 4, "at_once": 4},
    run=run,
)
