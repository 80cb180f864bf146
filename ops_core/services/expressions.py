"""Conditions and keys that agents declare, in CEL (Common Expression Language), each bounded in time and memory.

CEL has no loops but its macros (`all`, `exists`, `map`, …), which visit each member of a list. One inside of another
multiplies, so that is refused, as is a pattern that the data would choose. What is left takes time by the size of the
data and the joins and searches in the expression: their product is bounded.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ops_core.domain.task import JsonObject, JsonValue
from ops_core.services.json_shape import is_nested_deeper

if TYPE_CHECKING:
    from cel import Program

#: Characters of one expression.
MAX_EXPRESSION_CHARS = 1_000
#: Characters of a key that an expression makes.
MAX_KEY_CHARS = 256

_MAX_DEPTH = 64
_MAX_DATA_CHARS = 2_000_000
#: With a macro the work can be as the square of the data (`xs.all(x, x in xs)`).
_MAX_DATA_CHARS_WITH_MACRO = 100_000
_MAX_MEMBERS_WITH_MACRO = 2_000
#: Characters that an evaluation may go through, by estimate: about a second on a slow machine.
_MAX_WORK_CHARS = 50_000_000

#: Brings a terminal program of its own along, so it is imported only where there are expressions.
_LIBRARY = "cel"

_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|filter|map)\s*\(")
_RAW_TEXT = r"""(?<!\w)(?:[rR][bB]?|[bB][rR])(?:("{3}|'{3})(?:(?!\1).)*\1|"[^"\n]*"|'[^'\n]*')"""
_ESCAPED_TEXT = r"""("{3}|'{3})(?:\\.|(?!\2).)*\2|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_TEXT = re.compile(rf"{_RAW_TEXT}|{_ESCAPED_TEXT}|//[^\n]*", re.DOTALL)
#: What copies or searches as much as there is.
_JOIN_OR_SEARCH = re.compile(r"\+|\bin\b")
_OPEN_PATTERN = re.compile(r"\bmatches\s*\((?!\s*''\s*\))")
_BRACKET = re.compile(r"[()]")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an expression gives."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Unevaluable:
    """The expression gives nothing for this data: a field is missing, two types do not fit, it is too large."""

    reason: str


@lru_cache(maxsize=1_024)
def expression_problem(text: str, *, variable: str) -> str | None:
    """What is wrong with an expression whose only variable is this one; None when it can be used."""
    if not text.strip() or len(text) > MAX_EXPRESSION_CHARS:
        return f"must have 1 to {MAX_EXPRESSION_CHARS} characters"
    bare = _bare(text)
    if _has_nested_macro(bare):
        return "must not use a macro (all, exists, filter, map, …) inside of another: its time would have no bound"
    if _OPEN_PATTERN.search(bare):
        return "must write the pattern of `matches` out, as one text in quotes: another could take any time"
    try:
        program = _compiled(text)
    except Exception as error:  # noqa: BLE001  the library raises builtins of several kinds for what it cannot parse
        return f"is no CEL expression: {_first_line(error)}"
    references = program.references()
    own = _bound_names(bare)
    if strangers := [name for name in references["variables"] if name != variable and name not in own]:
        return f"names {strangers[0]!r}, but knows `{variable}` only, such as `{variable}.{strangers[0]}`"
    if unknown := [name for name in references["functions"] if name not in _FUNCTIONS and name[0].isalpha()]:
        return f"calls {unknown[0]!r}, which there is not; functions: {', '.join(sorted(_FUNCTIONS))}"
    return None


def evaluate(text: str, variable: str, data: JsonObject) -> Evaluated | Unevaluable:
    """The value of an expression that `expression_problem` has found nothing wrong with."""
    if (problem := expression_problem(text, variable=variable) or _data_problem(text, data)) is not None:
        return Unevaluable(problem)
    try:
        return Evaluated(_compiled(text).execute({variable: data}))
    except KeyError as error:
        return Unevaluable(f"there is no {error.args[0]!r}" if error.args else "a field is missing")
    except Exception as error:  # noqa: BLE001  as above: TypeError, RuntimeError, OverflowError, …
        return Unevaluable(_first_line(error))


def holds(text: str, variable: str, data: JsonObject) -> bool | Unevaluable:
    """Whether a condition is true of the data. One that gives no truth value cannot be evaluated."""
    match evaluate(text, variable, data):
        case Evaluated(bool(value)):
            return value
        case Evaluated(value):
            return Unevaluable(f"the condition gives {type(value).__name__}, not true or false")
        case Unevaluable() as failed:
            return failed


def key_of(text: str, variable: str, data: JsonObject) -> str | Unevaluable | None:
    """The key that an expression makes of the data; None when it gives null, which means: no key."""
    match evaluate(text, variable, data):
        case Evaluated(None):
            return None
        case Evaluated(bool() | int() | str() as value):
            return _key(value if isinstance(value, str) else json.dumps(value))
        # Protobuf's Struct knows no integers: 42 must make the same key through every door.
        case Evaluated(float(value)) if value.is_integer():
            return _key(str(int(value)))
        case Evaluated(value):
            return Unevaluable(f"the key is {type(value).__name__}, not text or a whole number")
        case Unevaluable() as failed:
            return failed


def _key(text: str) -> str | Unevaluable:
    if 0 < len(text) <= MAX_KEY_CHARS and text.isprintable():
        return text
    return Unevaluable(f"the key must have 1 to {MAX_KEY_CHARS} printable characters, not {len(text):,}")


async def prepare_expressions() -> None:
    """Load what evaluates them, unless it is: off the event loop, since it takes up to a second."""
    if _LIBRARY not in sys.modules:
        await asyncio.to_thread(importlib.import_module, _LIBRARY)


@lru_cache(maxsize=1_024)
def _compiled(text: str) -> Program:
    import cel

    return cel.compile(text)


def _has_nested_macro(bare: str) -> bool:
    starts = {match.end() - 1 for match in _MACRO.finditer(bare)}
    inside: list[bool] = []
    for bracket in _BRACKET.finditer(bare):
        if bracket.group() == ")":
            if inside:
                inside.pop()
        elif bracket.start() in starts and any(inside):
            return True
        else:
            inside.append(bracket.start() in starts)
    return False


def _bound_names(bare: str) -> set[str]:
    """Names that macros give to the members they visit."""
    return {match.group(1) for match in re.finditer(_MACRO.pattern + r"\s*([A-Za-z_]\w*)\s*,", bare)}


def _bare(text: str) -> str:
    """The expression with empty texts, and without comments: these may stand wherever a blank may."""
    return _TEXT.sub(lambda found: " " if found[0].startswith("//") else "''", text)


def _data_problem(text: str, data: JsonObject) -> str | None:
    if is_nested_deeper(data, _MAX_DEPTH):
        return f"the data is nested more than {_MAX_DEPTH} levels deep"
    bare = _bare(text)
    has_macro = _MACRO.search(bare) is not None
    chars = len(json.dumps(data, ensure_ascii=False, default=str))
    longest = _MAX_DATA_CHARS_WITH_MACRO if has_macro else _MAX_DATA_CHARS
    if chars > longest:
        return f"the data has more than {longest:,} characters"
    members = _members(data) if has_macro else 1
    if members > _MAX_MEMBERS_WITH_MACRO:
        return f"the data has more than {_MAX_MEMBERS_WITH_MACRO:,} members"
    if chars * members * (1 + len(_JOIN_OR_SEARCH.findall(bare)) ** 2) > _MAX_WORK_CHARS:
        return "the data is too large for what the expression does with it"
    return None


def _members(value: JsonValue) -> int:
    match value:
        case dict():
            return len(value) + sum(map(_members, value.values()))
        case list():
            return len(value) + sum(map(_members, value))
    return 0


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


#: What can be called by name.
_FUNCTIONS = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches", "has", "in"),
        *("all", "exists", "exists_one", "existsOne", "filter", "map"),
        *("int", "uint", "double", "string", "bytes", "dyn"),
        *("timestamp", "duration", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"),
        *("getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
