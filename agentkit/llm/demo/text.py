"""Words and passages, as the demo model compares them: which document, and which part of it, is about a topic."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

#: A document up to this long is quoted whole.
_WHOLE_LENGTH = 700
_PASSAGES = 3
#: Places that look like JSON and are not, after which a search result is given up on.
_BROKEN_JSON = 100
_FILLERS = frozenset(
    re.findall(
        r"\w+",
        "a about all an and any are as at be by can could do does find for from get give have how i in is it its look "
        "many me much my of on one or our please say says show tell than that the their there they this to up us was "
        "we what whats when where which who why will with would you your handbook document documents",
    )
)


def words(text: str) -> frozenset[str]:
    """The words that carry meaning; singular and plural are one word."""
    found = re.findall(r"[a-z0-9]+", text.casefold())
    return frozenset(_stem(word) for word in found if word not in _FILLERS)


def hit_names(content: str) -> list[str]:
    """The names in the result of a search: JSON objects with a `name`, however they are wrapped."""
    names = (each.get("name") for each in _objects(content))
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def passages(topic: str, document: str) -> list[str]:
    """The sentences and list items of the document that say most about the topic, in the document's order."""
    return most_about(topic, pieces_of(document))[:_PASSAGES]


def most_about(topic: str, pieces: Iterable[str]) -> list[str]:
    """The pieces that share the most words with the topic, in their order; empty when none shares any."""
    wanted = words(topic)
    scored = [(len(wanted & words(piece)), piece) for piece in pieces]
    best = max((score for score, _ in scored), default=0)
    return [piece for score, piece in scored if score == best] if best else []


def excerpt(topic: str, document: str) -> str:
    """The document when it is short, else what it says about the topic."""
    body = "\n".join(line for line in document.strip().splitlines() if not line.startswith("#")).strip()
    if len(body) <= _WHOLE_LENGTH:
        return body
    return " ".join(passages(topic, document)) or body[:_WHOLE_LENGTH]


def is_about(topic: str, document: str) -> bool:
    """Whether at least half of the topic's words are in the document."""
    wanted = words(topic)
    return bool(wanted) and 2 * len(wanted & words(document)) >= len(wanted)


def pieces_of(document: str) -> list[str]:
    """The sentences and list items of a document, without its headings."""
    lines = [line.strip().lstrip("-*| ").rstrip("| ") for line in document.splitlines() if line[:1] != "#"]
    return [piece for line in lines for piece in re.split(r"(?<=[.!?;])\s+", line) if piece]


def _stem(word: str) -> str:
    return word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")


def _objects(content: str) -> Iterator[dict[str, object]]:
    """Every JSON object in the text, also several in a row and those in arrays or other objects."""
    decoder, at, failures = json.JSONDecoder(), 0, 0
    while (
        failures < _BROKEN_JSON
        and (start := min((i for i in (content.find("{", at), content.find("[", at)) if i >= 0), default=-1)) >= 0
    ):
        try:
            value, at = decoder.raw_decode(content, start)
        except (ValueError, RecursionError):
            at, failures = start + 1, failures + 1
            continue
        yield from _objects_in(value)


def _objects_in(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _objects_in(each)
