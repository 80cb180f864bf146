"""How the demo model understands a goal: its parts, and the skill for each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentkit.llm.demo.errands import errands_in
from agentkit.llm.demo.numbers import expression_in
from agentkit.llm.demo.places import zone_of
from agentkit.llm.demo.skills import (
    Skill,
    arithmetic,
    lookup,
    lookup_and_calculate,
    time_conversion,
    time_now,
    unit_conversion,
)
from agentkit.llm.demo.text import words
from agentkit.llm.demo.tools import OfferedTools
from agentkit.tools.units import UNITS

#: Characters of a goal that are read; the patterns below look at each place more than once.
_LENGTH = 2_000
#: Parts of one goal that are worked on.
_PARTS = 8
_SPLIT = re.compile(
    r"[?;\n]+|[.!](?=\s|$)|,?\s+(?:and|then)\s+(?:also\s+|then\s+)*"
    r"(?=(?:what|who|when|where|how|convert|find|look|tell|search|calculate|compute)\b)",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"\b(?:hi|hello|hey|please|thanks|thank you|good (?:morning|day|evening))\b[ ,!]*", re.IGNORECASE
)
_TIME = r"(?P<time>\d{1,2}(?::\d{2}(?::\d{2})?)?\s*(?:[ap]\.?m\b\.?)?)"
_CONVERT_TIME = re.compile(
    _TIME + r"\s+(?:from\s+|in\s+)?(?P<source>[a-z_/ .]+?)(?:\s+time)?,?\s+(?:to|in|into)\s+(?P<target>[a-z_/ .]+)",
    re.IGNORECASE,
)
_TIME_NOW = re.compile(r"\btime\b.*?\bin\s+(?P<places>.+)", re.IGNORECASE)
_ASKS_TIME = re.compile(r"\bwhat(?:'s| is)? (?:the )?(?:current )?time\b|\bcurrent time\b", re.IGNORECASE)
_CONVERT_UNITS = re.compile(
    r"(?P<value>-?\d[\d,]*(?:\.\d+)?)\s*(?P<source>[a-z°][a-z0-9°/ _]*?)"
    r"\s+(?:to|in|into|as)\s+(?P<target>[a-z°][a-z0-9°/ _]*)",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(
    r"how many (?P<target>[a-z°/ _]+?)\s+(?:are|is|in|make|does|do)\s+(?:in\s+|there in\s+)?"
    r"(?P<value>-?\d[\d,]*(?:\.\d+)?|an?|one)\s*(?P<source>[a-z°][a-z0-9°/ _]*)",
    re.IGNORECASE,
)
_LOOK_UP = re.compile(
    r"\b(?:look(?:ing)? up|look for|search(?: the handbook)? for|find(?: out)?|check|read)\s+(?P<topic>.+)"
    r"|\bhandbook\s+says?\s+(?:about|on)\s+(?P<said>.+)"
    r"|\bdoes the handbook say\s+(?:about|on)\s+(?P<asked>.+)",
    re.IGNORECASE,
)
_IN_HANDBOOK = re.compile(r"\b(?:in|from|of|according to) (?:the |our )?(?:company )?handbook\b", re.IGNORECASE)
_QUESTION = re.compile(r"^(?:what|who|when|where|how|which|is|are|can|do|does|tell)\b", re.IGNORECASE)
_HOW_MUCH_FOR = re.compile(
    r"how much (?:do|does|would|will|is|are)\s+(?P<count>\d+)\s+(?P<thing>[a-z][a-z -]*?)(?:\s+costs?)?$", re.IGNORECASE
)
_NUMBER = r"(?P<number>\d+(?:\.\d+)?)"
_OPERATIONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf",?\s*(?:\band\b|\bthen\b|,)?\s*(?:then\s+)?\b{spoken}\b", re.IGNORECASE), template)
    for spoken, template in (
        (rf"(?:multiply (?:it|that|this|the \w+) by|times)\s+{_NUMBER}", "{{}} * {number}"),
        (rf"divide (?:it|that|this|the \w+) by\s+{_NUMBER}", "{{}} / {number}"),
        (rf"add {_NUMBER}(?: to (?:it|that|this|the \w+))?", "{{}} + {number}"),
        (rf"subtract {_NUMBER}(?: from (?:it|that|this|the \w+))?", "{{}} - {number}"),
        (r"(?:double (?:it|that|this|the \w+))(?P<number>)", "{{}} * 2"),
    )
)


def parts_of(goal: str) -> list[str]:
    """The sentences and questions of a goal, without courtesies."""
    parts = (_COURTESY.sub("", part.strip(), count=1).strip(" ,.:!") for part in _SPLIT.split(goal[:_LENGTH]))
    return [part for part in parts if part][:_PARTS]


def skills_for(part: str, tools: OfferedTools) -> list[Skill]:
    """What to do about one part of a goal; empty when it is beyond the demo model."""
    readers = (errands_in, _times_converted, _units, _looked_up, _times_now, _calculated, _asked_of_the_handbook)
    return next((skills for read in readers if (skills := list(read(part, tools)))), [])


def _times_converted(part: str, tools: OfferedTools) -> Iterator[Skill]:
    for match in _CONVERT_TIME.finditer(part):
        time, source, target = match["time"], zone_of(match["source"]), zone_of(match["target"])
        clock_time = _clock_time(time)
        if source and target and clock_time:
            yield time_conversion(clock_time, source, target, tools)


def _clock_time(text: str) -> str | None:
    """HH:MM; a bare hour needs am or pm to be a time."""
    match = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?(?::\d{2})?\s*(?:([ap])\.?m\.?)?", text.strip(), re.IGNORECASE)
    if match is None or not (match[2] or match[3]):
        return None
    hour = int(match[1])
    if match[3]:
        hour = hour % 12 + (12 if match[3].lower() == "p" else 0)
    return f"{hour:02}:{match[2] or '00'}"


def _units(part: str, tools: OfferedTools) -> Iterator[Skill]:
    for match in (*_HOW_MANY.finditer(part), *_CONVERT_UNITS.finditer(part)):
        source, target = _unit(match["source"]), _unit(match["target"])
        if source and target:
            value = match["value"].replace(",", "").lower()
            yield unit_conversion(1.0 if value in {"a", "an", "one"} else float(value), source, target, tools)


def _unit(text: str) -> str | None:
    """The longest beginning of the text that names a unit."""
    spoken = text.strip().casefold().removeprefix("degrees ").removeprefix("degree ").split()
    names = (" ".join(spoken[:count]) for count in range(len(spoken), 0, -1))
    return next((name for name in names if name.replace(" ", "_") in UNITS), None)


def _looked_up(part: str, tools: OfferedTools) -> Iterator[Skill]:
    if match := _HOW_MUCH_FOR.search(part):
        yield lookup_and_calculate(f"price of {match['thing'].strip()}", f"{{}} * {match['count']}", tools)
        return
    asks = _IN_HANDBOOK.search(part)
    bare, operation = _operation(_IN_HANDBOOK.sub(" ", part))
    if match := _LOOK_UP.search(bare):
        bare = match["topic"] or match["said"] or match["asked"]
    elif not asks:
        return
    topic = _topic(bare)
    if words(topic):
        yield lookup_and_calculate(topic, operation, tools) if operation else lookup(topic, tools)


def _operation(text: str) -> tuple[str, str | None]:
    """The text without what is to be done with the amount found, and that, with `{}` for the amount."""
    for pattern, template in _OPERATIONS:
        if match := pattern.search(text):
            return text[: match.start()] + text[match.end() :], template.format(number=match["number"])
    return text, None


def _topic(text: str) -> str:
    text = re.sub(
        r"^(?:(?:what|who|when|where|how|which|tell me|much|is|are|does|do|the|our|your|a|an|about)\b['s]*\s*)+",
        "",
        text.strip(),
        flags=re.IGNORECASE,
    )
    return " ".join(text.split()).strip(" .,:?!'\"")


def _times_now(part: str, tools: OfferedTools) -> Iterator[Skill]:
    if match := _TIME_NOW.search(part):
        for place in re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+(?:in\s+)?", match["places"]):
            place = re.sub(r"\s+(?:right now|now|today|currently)$", "", place.strip(" .?!"), flags=re.IGNORECASE)
            if zone := zone_of(place):
                yield time_now(place, zone, tools)
    elif _ASKS_TIME.search(part):
        yield time_now("UTC", "UTC", tools)


def _calculated(part: str, tools: OfferedTools) -> Iterator[Skill]:
    if expression := expression_in(part):
        yield arithmetic(expression, tools)


def _asked_of_the_handbook(part: str, tools: OfferedTools) -> Iterator[Skill]:
    """Any other question is looked for in the handbook, if there is one."""
    topic = _topic(part)
    if _QUESTION.search(part) and words(topic) and tools.search(topic):
        yield lookup(topic, tools)
