"""What the demo model can do: each skill asks for tool calls one by one and ends with its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.llm.demo.numbers import money_in, number_in
from agentkit.llm.demo.text import excerpt, hit_names, is_about, most_about, pieces_of
from agentkit.llm.demo.tools import DemoCall, OfferedTools


@dataclass(frozen=True, slots=True)
class Observation:
    """What the demo model is shown of a tool call's result."""

    content: str
    is_error: bool


Skill: TypeAlias = Generator[DemoCall, Observation, str]


def arithmetic(expression: str, tools: OfferedTools) -> Skill:
    seen = yield from called(tools.calculate(expression), "a calculator")
    return failed(f"work out {expression}", seen) if seen.is_error else f"{expression} = {seen.content}"


def time_now(place: str, zone: str, tools: OfferedTools) -> Skill:
    seen = yield from called(tools.time_now(zone), "a clock")
    if seen.is_error and (better := _suggested_zone(seen.content)):
        seen = yield from called(tools.time_now(better), "a clock")
    return failed(f"tell the time in {place}", seen) if seen.is_error else f"{place}: {_readable(seen.content)}"


def time_conversion(time: str, source: str, target: str, tools: OfferedTools) -> Skill:
    seen = yield from called(tools.convert_time(time, source, target), "a clock that converts times")
    failure = f"convert {time} from {source} to {target}"
    return failed(failure, seen) if seen.is_error else _readable(seen.content)


def unit_conversion(value: float, source: str, target: str, tools: OfferedTools) -> Skill:
    seen = yield from called(tools.convert_units(value, source, target), "a unit converter")
    return failed(f"convert {value:g} {source} to {target}", seen) if seen.is_error else seen.content


def lookup(topic: str, tools: OfferedTools) -> Skill:
    """Search, read the best document, quote it."""
    found = yield from _find(topic, tools)
    if isinstance(found, str):
        return found
    return f"From the handbook ({found.name}): {excerpt(topic, found.text)}"


def lookup_and_calculate(topic: str, operation: str, tools: OfferedTools) -> Skill:
    """Look up an amount and calculate with it; `operation` has `{}` where the amount goes."""
    found = yield from _find(topic, tools)
    if isinstance(found, str):
        return found
    fact, amount = _amount_about(topic, found.text)
    if amount is None:
        return f"I found {found.name} in the handbook, but no amount in it for {topic!r}."
    expression = operation.format(amount)
    seen = yield from called(tools.calculate(expression), "a calculator")
    if seen.is_error:
        return failed(f"work out {expression}", seen)
    return f"The handbook ({found.name}) says: {fact}. So {expression} = {seen.content}."


@dataclass(frozen=True, slots=True)
class _Document:
    name: str
    text: str


def _find(topic: str, tools: OfferedTools) -> Generator[DemoCall, Observation, _Document | str]:
    """The document about the topic, or what to say when there is none."""
    hits = yield from called(tools.search(topic), "a tool to search the handbook")
    if hits.is_error:
        hits = yield from called(tools.search(topic), "a tool to search the handbook")
    if hits.is_error:
        return failed("search the handbook", hits)
    problem = f"The handbook has nothing about {topic!r}, and beyond it I know nothing: I am only a demo model."
    # The second name is the other try when the first cannot be read or is about something else.
    for name in hit_names(hits.content)[:2]:
        page = yield from called(tools.read(name), "a tool to read the handbook")
        if page.is_error:
            problem = failed(f"read {name!r} in the handbook", page)
        elif is_about(topic, f"{name} {page.content}"):
            return _Document(name, page.content)
    return problem


def _amount_about(topic: str, text: str) -> tuple[str, str | None]:
    """The passage with an amount that says most about the topic, and the amount: money before other numbers."""
    # The word "price" is in the title; what has a price is in the list below it.
    thing = re.sub(r"\b(?:prices?|costs?|fees?)\b", " ", topic, flags=re.IGNORECASE)
    for amount_in in (money_in, number_in):
        with_amount = [piece for piece in pieces_of(text) if amount_in(piece)]
        if best := most_about(thing, with_amount):
            return best[0].rstrip(". "), amount_in(best[0])
    return "", None


class ToolNotOffered(Exception):
    """No tool that was offered serves the purpose; the message names what is missing."""


def called(call: DemoCall | None, what: str) -> Generator[DemoCall, Observation, Observation]:
    """What came of the call; `what` says what is missing when no tool was offered for it."""
    if call is None:
        raise ToolNotOffered(what)
    return (yield call)


def failed(what: str, seen: Observation) -> str:
    """What to say when a call could not do it."""
    return f"I could not {what}: {seen.content}"


def _suggested_zone(message: str) -> str | None:
    found = re.search(r"did you mean ([A-Za-z_]+/[A-Za-z_/]+)", message)
    return found.group(1) if found else None


def _readable(content: str) -> str:
    """The times in the JSON of other clocks, such as the published MCP time server; other text as it is."""
    try:
        body = json.loads(content)
    except ValueError:
        return content
    match body:
        case {"datetime": str(moment), "timezone": str(zone)}:
            return f"{moment} ({zone})"
        case {"source": {"datetime": str(a), "timezone": str(b)}, "target": {"datetime": str(c), "timezone": str(d)}}:
            return f"{a} ({b}) is {c} ({d})"
        case _:
            return content
