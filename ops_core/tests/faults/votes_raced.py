"""Two people decide the same approval at the same moment, one yes and one no, at two API processes."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import httpx2

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import Lab, all_listen, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.outside import Outside
from ops_core.tests.faults.people import NO, YES, Person
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

AGENT = "asking-1-10"
WHO = ("ada", "bob")
#: One of the two comes so much later, at most; often they come together.
LATEST_SECONDS = 0.01
_KEYS = json.dumps([{"key": f"key-of-{who}", "subject": who, "roles": ["approver"]} for who in WHO])


@dataclass(frozen=True, slots=True)
class Race:
    """What both were told, `ada`, who says yes, first."""

    task_id: UUID
    answers: Sequence[httpx2.Response]

    @property
    def winners(self) -> list[str]:
        return [who for who, answer in zip(WHO, self.answers, strict=True) if answer.status_code == 200]


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    with lab.shared() as system, lab.new_ledger("vote") as ledger:
        queue = lab.new_queue()
        without = ("vote_lock",) if control else ()
        urls = [system.begin_api(api_keys=_KEYS, without=without)[1] for _ in WHO]
        all_listen(urls)
        with (
            workers(system, queue, 2),
            Submitter(system.url, ledger, queue=queue) as client,
            Person(urls[0], key=f"key-of-{WHO[0]}") as ada,
            Person(urls[1], key=f"key-of-{WHO[1]}") as bob,
        ):
            ids = client.submit_many([AGENT] * size["races"])
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control))
            races = [decide_at_once(id, (ada, bob), rng) for id in ids]
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control))
            votes = [len(approval["votes"]) for id in ids for approval in ada.approvals(id)]
        tally = oracle.judge(system, ledger, lab.outside, faults=len(races))
        tally.own = {
            "not_decided_once": sum(len(race.winners) != 1 for race in races),
            "not_one_vote": sum(count != 1 for count in votes) + len(ids) - len(votes),
            "loser_not_told": sum(not is_told(race) for race in races),
            "not_as_decided": sum(not is_done(race, lab.outside) for race in races),
        }
        tally.seen = {f"{who}_first": sum(race.winners == [who] for race in races) for who in WHO}
        return tally


def decide_at_once(task_id: UUID, people: Sequence[Person], rng: random.Random) -> Race:
    [approval] = people[0].approvals(task_id)
    start = threading.Barrier(len(people))
    late = [0.0, rng.choice((0.0, rng.uniform(0, LATEST_SECONDS)))]
    rng.shuffle(late)

    def decide(person: Person, decision: dict[str, object], pause: float) -> httpx2.Response:
        start.wait(30)
        time.sleep(pause)
        return person.decide(approval["id"], decision)

    with ThreadPoolExecutor(len(people)) as pool:
        asked = [
            pool.submit(partial(decide, person, dict(decision), pause))
            for person, decision, pause in zip(people, (YES, NO), late, strict=True)
        ]
        return Race(task_id, [each.result() for each in asked])


def is_told(race: Race) -> bool:
    """Whether the loser knows that it is decided, and by whom."""
    lost = [answer for answer in race.answers if answer.status_code != 200]
    return all(
        answer.status_code == 409 and answer.json()["code"] == "approval_decided" and winner in answer.json()["detail"]
        for winner in race.winners
        for answer in lost
    )


def is_done(race: Race, outside: Outside) -> bool:
    """Whether the tool was called as often as the one who was first has said."""
    calls = sum(effect.task_id == str(race.task_id) for effect in outside.effects())
    return calls == (race.winners == [WHO[0]])


ROW = Row(
    name="votes_raced",
    fault="approve against reject: two people decide one approval at once",
    remedy="a vote is counted while its task is locked",
    short={"races": 20},
    full={"races": 1000},
    control={"races": 6},
    run=run,
)
