"""Legal names on the wire and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.llm.tool_names import LegalNames

LEGAL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


def test_a_legal_name_stays_as_it_is() -> None:
    assert LegalNames(["get-time_2"]).to_wire("get-time_2") == "get-time_2"


@pytest.mark.parametrize(
    ("name", "wire"),
    [("time.now", "time__now"), ("a/b c", "a__b__c"), ("2nd", "_2nd"), ("naïve", "na__ve"), ("", "_")],
)
def test_an_illegal_name_stays_readable(name: str, wire: str) -> None:
    names = LegalNames([name])

    assert names.to_wire(name) == wire
    assert names.from_wire(wire) == name


def test_a_legal_name_is_never_pushed_aside() -> None:
    names = LegalNames(["a.b", "a__b"])

    assert names.to_wire("a__b") == "a__b"
    assert re.fullmatch(r"a__b_[0-9a-f]{8}", names.to_wire("a.b"))


def test_long_names_that_differ_at_the_end_stay_different() -> None:
    one, other = "x" * 100 + "1", "x" * 100 + "2"
    names = LegalNames([one, other])

    assert names.to_wire(one) != names.to_wire(other)
    assert len(names.to_wire(one)) == 64


def test_a_name_the_model_made_up_comes_back_as_it_is() -> None:
    assert LegalNames(["a.b"]).from_wire("nonsense") == "nonsense"


@given(st.lists(st.text(st.sampled_from("ab_.-/1é"), max_size=6) | st.text(max_size=80)))
def test_any_names_map_to_legal_ones_and_back_whatever_their_order(given_names: list[str]) -> None:
    names, reversed_names = LegalNames(given_names), LegalNames(given_names[::-1])

    for name in given_names:
        wire = names.to_wire(name)
        assert LEGAL.fullmatch(wire)
        assert names.from_wire(wire) == name
        assert reversed_names.to_wire(name) == wire
    assert len({names.to_wire(name) for name in given_names}) == len(set(given_names))
