"""JSON through protobuf's Struct and Value, and what of it they cannot hold."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_json import (
    MAX_EXACT_INTEGER,
    MAX_STRUCT_DEPTH,
    json_from_struct,
    json_text,
    struct_from_json,
    value_from_json,
)

EXACT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int, innermost: Any = None) -> dict[str, Any]:
    """Objects within one another."""
    value = innermost
    for _ in range(depth):
        value = {"a": value}
    return value  # type: ignore[no-any-return]  # depth is at least 1


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), EXACT, max_size=4))
def test_what_a_struct_holds_comes_back_equal(value: dict[str, Any]) -> None:
    struct = struct_from_json(value)

    assert struct is not None
    assert json_from_struct(Struct.FromString(struct.SerializeToString()), pointer="") == value


@pytest.mark.parametrize("number", [0, 1, -1, MAX_EXACT_INTEGER, -MAX_EXACT_INTEGER])
def test_whole_numbers_come_back_as_integers(number: int) -> None:
    struct = Struct()
    struct.update({"n": number})

    back = json_from_struct(struct, pointer="")["n"]

    assert (back, type(back)) == (number, int)


@pytest.mark.parametrize("number", [0.5, 1e300, -1e17, 5e-324])
def test_other_numbers_stay_floats(number: float) -> None:
    struct = Struct()
    struct.update({"n": number})

    back = json_from_struct(struct, pointer="")["n"]

    assert (back, type(back)) == (number, float)


def test_numbers_that_are_none_are_left_for_the_service_to_refuse() -> None:
    struct = Struct()
    struct.update({"n": math.nan})

    assert math.isnan(json_from_struct(struct, pointer="")["n"])


@pytest.mark.parametrize("value", [2**53, -(2**53), 10**400, {"a": [2**60]}, nested(MAX_STRUCT_DEPTH + 1)])
def test_what_a_value_cannot_hold_exactly_is_said_so(value: Any) -> None:
    assert value_from_json(value) is None
    assert struct_from_json({"v": value}) is None
    assert json.loads(json_text(value)) == value


def test_the_deepest_struct_can_be_read_from_the_deepest_message_of_ours() -> None:
    struct = struct_from_json(nested(MAX_STRUCT_DEPTH - 1, {"list": "of text"}))
    assert struct is not None
    page = pb.SubmitTasksResponse(results=[pb.SubmitTaskResponse(task=pb.Task(input=struct))])

    assert pb.SubmitTasksResponse.FromString(page.SerializeToString()) == page


def test_no_value_is_told_from_null() -> None:
    value = value_from_json(None)

    assert value is not None
    assert value.WhichOneof("kind") == "null_value"


def test_empty_objects_and_lists_are_kept() -> None:
    struct = struct_from_json({"object": {}, "list": []})

    assert struct is not None
    assert json_from_struct(struct, pointer="") == {"object": {}, "list": []}
