"""`db …` brings a database to the newest schema, and waits for one that is away."""

from __future__ import annotations

import pytest

from ops_core.entrypoints.db import until_available
from ops_core.errors import StoreUnavailable
from ops_core.tests.unit.entrypoints.conftest import Command


def test_a_new_database_is_brought_to_the_newest_schema(command: Command) -> None:
    before, checked = command("db", "current"), command("db", "check")
    assert (before.code, checked.code) == (1, 1)
    assert "try: ops-core db upgrade" in checked.err
    version = command("db", "upgrade").out
    assert command("db", "upgrade").out == command("db", "current").out == command("db", "check").out == version


def test_a_database_that_is_away_is_waited_for() -> None:
    answers: list[str | Exception] = [StoreUnavailable("away"), StoreUnavailable("away"), "0001"]
    pauses: list[float] = []
    assert until_available(Answers(answers), timeout_seconds=60, sleep=pauses.append, clock=lambda: 0.0) == "0001"
    assert pauses == [0.5, 1.0]


def test_waiting_for_a_database_ends() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(StoreUnavailable):
        until_available(
            Answers([StoreUnavailable("away")] * 100), timeout_seconds=10, sleep=sleep, clock=lambda: now[0]
        )
    assert now[0] <= 10


class Answers:
    """Gives or raises the next of the answers."""

    def __init__(self, answers: list[str | Exception] | list[StoreUnavailable]) -> None:
        self._answers = list(answers)

    def __call__(self) -> str:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
