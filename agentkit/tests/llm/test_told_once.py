"""What a reader sees of an answer that was begun more than once."""

from __future__ import annotations

import pytest

from agentkit.llm.told_once import ToldOnce


def seen(*tries: list[str]) -> list[str]:
    told: list[str] = []
    reader = ToldOnce(told.append)
    for number, pieces in enumerate(tries):
        if number:
            reader.next_try()
        for piece in pieces:
            reader.tell(piece)
    return told


@pytest.mark.parametrize(
    ("tries", "told"),
    [
        ([["Once ", "upon"]], ["Once ", "upon"]),
        ([[], ["Once"]], ["Once"]),
        ([["On"], ["Once"]], ["On", "ce"]),
        ([["On"], ["O", "n", "c", "e"]], ["On", "c", "e"]),
        ([["Once upon"], ["Once"]], ["Once upon"]),
        ([["Once"], ["Twice", " upon"]], ["Once"]),
        ([["Once"], ["On the", " way"]], ["Once"]),
        ([["Once"], ["On"], ["Once upon"]], ["Once", " upon"]),
        ([["Once"], ["Twice"], ["Once upon"]], ["Once", " upon"]),
        ([["On"], ["Once"], ["Once upon"]], ["On", "ce", " upon"]),
    ],
)
def test_nothing_is_told_twice_and_nothing_that_does_not_follow(tries: list[list[str]], told: list[str]) -> None:
    assert seen(*tries) == told
