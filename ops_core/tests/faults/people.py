"""People who decide what tasks ask them."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx2

#: How long a person goes on asking a server that is away.
PATIENCE_SECONDS = 30.0

YES: Mapping[str, Any] = {"decision": "approve"}
NO: Mapping[str, Any] = {"decision": "reject", "reason": "looked it up: it was done"}
OWN: Mapping[str, Any] = {"decision": "respond", "response": "charged, says the bank"}


class Person:
    """Somebody at an API, under a key of his own if it wants one."""

    def __init__(self, url: str, *, key: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx2.Client(base_url=url, timeout=30, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def approvals(self, task_id: UUID) -> list[dict[str, Any]]:
        """All that the task has asked for."""
        answer = self._until_answered("GET", f"/api/v1/approvals?task_id={task_id}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def decide(self, approval_id: str, decision: Mapping[str, Any]) -> httpx2.Response:
        """What the API says to it, whatever that is."""
        return self._until_answered("POST", f"/api/v1/approvals/{approval_id}/decide", json=dict(decision))

    def _until_answered(self, method: str, path: str, **request: Any) -> httpx2.Response:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self._http.request(method, path, **request)
            if answer.status_code != 503 or time.monotonic() > give_up_at:
                return answer
            time.sleep(0.05)


def decisions(rng: random.Random) -> Iterator[Mapping[str, Any]]:
    """A yes, a no and a word of his own in turn, beginning anywhere."""
    turns = [YES, NO, OWN]
    rng.shuffle(turns)
    return itertools.cycle(turns)


def decide_all(person: Person, ids: Collection[UUID], turns: Iterator[Mapping[str, Any]]) -> Counter[str]:
    """Decide everything that these tasks wait for; how often what was said."""
    said: Counter[str] = Counter()
    for id in ids:
        for approval in person.approvals(id):
            if approval["status"] == "pending":
                decision = next(turns)
                answer = person.decide(approval["id"], decision)
                assert answer.status_code == 200, answer.text
                said[decision["decision"]] += 1
    return said
