"""Patterns that pick tools by name."""

from __future__ import annotations

import pytest

from agentkit.tools.name_patterns import NamePatterns


@pytest.mark.parametrize(
    ("patterns", "name", "fits"),
    [
        (["demo.*"], "demo.read", True),
        (["demo.*"], "demonstrate", False),
        (["a", "b"], "b", True),
        (["calc*"], "Calculator", False),
        ([], "anything", False),
        ("calculator", "calculator", True),
        ("calculator", "c", False),
    ],
)
def test_a_name_fits_when_it_fits_one_pattern(patterns: list[str], name: str, fits: bool) -> None:
    assert NamePatterns(patterns).fit(name) is fits


def test_patterns_are_shown_as_they_were_given() -> None:
    assert [str(NamePatterns(["a*", "b"])), str(NamePatterns([]))] == ["a*, b", "nothing"]
