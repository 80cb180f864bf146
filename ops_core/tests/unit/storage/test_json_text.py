"""JSON text that every database takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_core.errors import InvalidInput
from ops_core.storage.json_text import dump_json, load_json, refuse_unstorable

_ANY_TEXT = st.text(st.characters(codec=None, categories=None))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(_JSON)
def test_what_goes_in_comes_back_and_is_storable_text(value: Any) -> None:
    text = dump_json(value)
    assert "\x00" not in text
    text.encode()
    assert repr(load_json(text)) == repr(value)


def _deep() -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object(), _deep()])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        dump_json(value)


@pytest.mark.parametrize("text", ["a\x00", "\udc80"])
def test_names_that_no_column_takes_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="queue has a character"):
        refuse_unstorable(agent="fine", queue=text, key=None)
