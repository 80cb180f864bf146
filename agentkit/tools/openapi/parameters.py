"""How values are written into a path, a query or a header: the styles of OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from agentkit.errors import BadToolArguments
from agentkit.tools.openapi.document import Unusable
from agentkit.transcript import JsonValue


class Place(StrEnum):
    """Where a parameter goes."""

    path = "path"
    query = "query"
    header = "header"


class Style(StrEnum):
    """How a list or an object is written."""

    simple = "simple"
    label = "label"
    matrix = "matrix"
    form = "form"
    space = "spaceDelimited"
    pipe = "pipeDelimited"
    deep = "deepObject"


#: The styles of each place, the default first.
_STYLES = {
    Place.path: (Style.simple, Style.label, Style.matrix),
    Place.query: (Style.form, Style.space, Style.pipe, Style.deep),
    Place.header: (Style.simple,),
}
#: Between the parts of a value that is not exploded; encoded, as it stands in a query.
_BETWEEN = {Style.space: "%20", Style.pipe: "%7C"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation."""

    #: Its name among the tool's arguments, which vendors restrict more than OpenAPI does.
    argument: str
    name: str
    place: Place
    style: Style
    explode: bool
    #: The value is written as JSON, in no style.
    as_json: bool = False

    def in_path(self, value: JsonValue) -> str:
        """What stands for `{name}` in the path.

        Raises:
            BadToolArguments: the value is empty, and would lead to another path.
        """
        if value in ("", None, [], {}):
            raise BadToolArguments(f"argument {self.argument!r} must not be empty")
        return self._in_path(_json(value) if self.as_json else value)

    def in_query(self, value: JsonValue) -> list[str]:
        """The `name=value` of the query; none for nothing."""
        name = _encoded(self.name)
        if value is None:
            return []
        if self.as_json or not isinstance(value, dict | list):
            return [f"{name}={_encoded(_json(value) if self.as_json else value)}"]
        if self.style is Style.deep and isinstance(value, dict):
            return _deep(name, value)
        if self.explode or self.style is Style.deep:
            pairs = value.items() if isinstance(value, dict) else ((self.name, each) for each in value)
            return [f"{_encoded(key)}={_encoded(each)}" for key, each in pairs]
        return [f"{name}={_BETWEEN.get(self.style, ',').join(_parts(value, False, _encoded))}"] if value else []

    def in_header(self, value: JsonValue) -> str:
        """The value of the header.

        Raises:
            BadToolArguments: it cannot stand in a header.
        """
        text = _json(value) if self.as_json else ",".join(_parts(value, self.explode, _plain))
        if not text.isascii() or not text.isprintable():
            raise BadToolArguments(f"argument {self.argument!r} must be printable ASCII: it is sent in a header")
        return text

    def _in_path(self, value: JsonValue) -> str:
        parts = _parts(value, self.explode, _encoded)
        match self.style:
            case Style.label:
                return "." + ("." if self.explode else ",").join(parts)
            case Style.matrix if self.explode and isinstance(value, dict):
                return "".join(f";{part}" for part in parts)
            case Style.matrix if self.explode:
                return "".join(f";{_encoded(self.name)}={part}" for part in parts)
            case Style.matrix:
                return f";{_encoded(self.name)}={','.join(parts)}"
            case _:
                return ",".join(parts)


def styled(place: Place, parameter: Mapping[str, Any]) -> tuple[Style, bool]:
    """Style and explode of a parameter object, or their defaults.

    Raises:
        Unusable: a style that does not exist there.
    """
    styles = _STYLES[place]
    named = parameter.get("style", styles[0].value)
    if named not in [style.value for style in styles]:
        raise Unusable(f"the style {named!r:.50} does not exist in a {place}")
    style = Style(named)
    return style, bool(parameter.get("explode", style is Style.form))


def _parts(value: JsonValue, explode: bool, write: Callable[[JsonValue], str]) -> list[str]:
    """The pieces of a value, written."""
    match value:
        case dict() if explode:
            return [f"{write(key)}={write(each)}" for key, each in value.items()]
        case dict():
            return [write(each) for pair in value.items() for each in pair]
        case list():
            return [write(each) for each in value]
        case _:
            return [write(value)]


def _deep(name: str, value: JsonValue) -> list[str]:
    match value:
        case dict():
            return [pair for key, each in value.items() for pair in _deep(f"{name}%5B{_encoded(key)}%5D", each)]
        case list():
            return [f"{name}={_encoded(each)}" for each in value]
        case _:
            return [f"{name}={_encoded(value)}"]


def _encoded(value: JsonValue) -> str:
    return quote(_plain(value), safe="")


def _plain(value: JsonValue) -> str:
    """A list within a list has no style: it is written as JSON."""
    match value:
        case str():
            return value
        case None:
            return ""
        case _:
            return _json(value)


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
