"""How values are written into paths, queries and headers, by the tables of the specification."""

from __future__ import annotations

import pytest

from agentkit import BadToolArguments, JsonObject, JsonValue
from agentkit.tools.openapi.document import Unusable
from agentkit.tools.openapi.parameters import Parameter, Place, styled

STRING, LIST, OBJECT = "blue", ["blue", "black", "brown"], {"R": 100, "G": 200, "B": 150}


def parameter(place: str, given: JsonObject | None = None) -> Parameter:
    style, explode = styled(Place(place), given or {})
    return Parameter("color", "color", Place(place), style, explode)


@pytest.mark.parametrize(
    ("given", "string", "list_", "object_"),
    [
        ({}, "blue", "blue,black,brown", "R,100,G,200,B,150"),
        ({"explode": True}, "blue", "blue,black,brown", "R=100,G=200,B=150"),
        ({"style": "label"}, ".blue", ".blue,black,brown", ".R,100,G,200,B,150"),
        ({"style": "label", "explode": True}, ".blue", ".blue.black.brown", ".R=100.G=200.B=150"),
        ({"style": "matrix"}, ";color=blue", ";color=blue,black,brown", ";color=R,100,G,200,B,150"),
        (
            {"style": "matrix", "explode": True},
            ";color=blue",
            ";color=blue;color=black;color=brown",
            ";R=100;G=200;B=150",
        ),
    ],
)
def test_styles_of_a_path(given: JsonObject, string: str, list_: str, object_: str) -> None:
    path = parameter("path", given)
    assert [path.in_path(value) for value in (STRING, LIST, OBJECT)] == [string, list_, object_]


@pytest.mark.parametrize(
    ("given", "string", "list_", "object_"),
    [
        ({}, "color=blue", "color=blue&color=black&color=brown", "R=100&G=200&B=150"),
        ({"explode": False}, "color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"),
        (
            {"style": "spaceDelimited"},
            "color=blue",
            "color=blue%20black%20brown",
            "color=R%20100%20G%20200%20B%20150",
        ),
        ({"style": "pipeDelimited"}, "color=blue", "color=blue%7Cblack%7Cbrown", "color=R%7C100%7CG%7C200%7CB%7C150"),
        (
            {"style": "pipeDelimited", "explode": True},
            "color=blue",
            "color=blue&color=black&color=brown",
            "R=100&G=200&B=150",
        ),
        (
            {"style": "deepObject", "explode": True},
            "color=blue",
            "color=blue&color=black&color=brown",
            "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150",
        ),
    ],
)
def test_styles_of_a_query(given: JsonObject, string: str, list_: str, object_: str) -> None:
    query = parameter("query", given)
    assert ["&".join(query.in_query(value)) for value in (STRING, LIST, OBJECT)] == [string, list_, object_]


@pytest.mark.parametrize(
    ("explode", "list_", "object_"),
    [(False, "blue,black,brown", "R,100,G,200,B,150"), (True, "blue,black,brown", "R=100,G=200,B=150")],
)
def test_styles_of_a_header(explode: bool, list_: str, object_: str) -> None:
    header = parameter("header", {"explode": explode})
    assert [header.in_header(value) for value in (STRING, LIST, OBJECT)] == ["blue", list_, object_]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "color=true"),
        (False, "color=false"),
        (0, "color=0"),
        (1.5, "color=1.5"),
        ("", "color="),
        ("a b&c=d#e/f?g+h,ü", "color=a%20b%26c%3Dd%23e%2Ff%3Fg%2Bh%2C%C3%BC"),
        ([{"a": 1}], "color=%7B%22a%22%3A1%7D"),
        ([None], "color="),
        (None, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_values_of_a_query_are_encoded_and_nothing_is_left_out(value: JsonValue, written: str) -> None:
    assert "&".join(parameter("query").in_query(value)) == written


def test_an_object_within_an_object_is_written_deep() -> None:
    query = parameter("query", {"style": "deepObject"})
    assert query.in_query({"a": {"b": 1, "c": [2, 3]}}) == [
        "color%5Ba%5D%5Bb%5D=1",
        "color%5Ba%5D%5Bc%5D=2",
        "color%5Ba%5D%5Bc%5D=3",
    ]


def test_a_parameter_with_a_content_type_is_written_as_json() -> None:
    filter_ = Parameter("color", "color", Place.query, *styled(Place.query, {}), as_json=True)
    assert filter_.in_query({"a": [1]}) == ["color=%7B%22a%22%3A%5B1%5D%7D"]


@pytest.mark.parametrize("value", ["", None, [], {}])
def test_an_empty_value_in_a_path_would_make_it_another_path(value: JsonValue) -> None:
    with pytest.raises(BadToolArguments, match="'color' must not be empty"):
        parameter("path").in_path(value)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\x00", "ü", ["a\nb"]])
def test_a_header_takes_no_line_breaks_and_only_ascii(value: JsonValue) -> None:
    with pytest.raises(BadToolArguments, match="must be printable ASCII"):
        parameter("header").in_header(value)


@pytest.mark.parametrize(
    ("place", "style"), [("path", "form"), ("query", "simple"), ("header", "form"), ("query", 3), ("query", ["form"])]
)
def test_a_style_that_does_not_exist_there_is_refused(place: str, style: object) -> None:
    with pytest.raises(Unusable, match="does not exist in"):
        styled(Place(place), {"style": style})
