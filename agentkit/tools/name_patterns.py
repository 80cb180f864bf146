"""Patterns that pick tools by name."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


class NamePatterns:
    """Picks the names that fit one of the patterns (`demo.*`, `calculator`); none picks nothing."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)

    def fit(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def __str__(self) -> str:
        return ", ".join(self._patterns) or "nothing"
