"""The texts that planners put before a model: files beside the planners, which a person can read and replace."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from agentkit.errors import ConfigurationError
from agentkit.tools.base import ToolSpec

_PLACE = re.compile(r"\{(\w+)\}")


class Template:
    """A text with places to be filled in, each written as a name in braces."""

    def __init__(self, text: str, *, needs: frozenset[str]) -> None:
        """
        Raises:
            ConfigurationError: it lacks a place that it needs.
        """
        missing = needs - set(_PLACE.findall(text))
        if missing:
            places = ", ".join(f"{{{name}}}" for name in sorted(missing))
            raise ConfigurationError(f"a prompt template lacks {places}")
        self._text = text.strip()

    @classmethod
    def at(cls, given: Path | None, builtin: str, *, needs: frozenset[str]) -> Template:
        """That of the file given, else the one of this name that comes with agentkit.

        Raises:
            ConfigurationError: the file cannot be read, or lacks a place that it needs.
        """
        if given is None:
            return cls(_builtin(builtin), needs=needs)
        try:
            return cls(given.read_text(encoding="utf-8"), needs=needs)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the prompt template {given} cannot be read: {error}") from error

    def filled(self, **values: str) -> str:
        """The text with these in their places; braces around anything else stay as they are."""
        return _PLACE.sub(lambda place: values.get(place[1], place[0]), self._text)


def tool_lines(tools: Sequence[ToolSpec]) -> str:
    """The tools, one JSON object a line, as a model can read them."""
    lines = [{"name": each.name, "description": each.description, "arguments": each.parameters} for each in tools]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) or "(there are no tools)"


@cache
def _builtin(name: str) -> str:
    return files("agentkit.planners").joinpath(name).read_text(encoding="utf-8")
