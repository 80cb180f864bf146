"""The documentation as data: pages, their code blocks with the marks above them, their links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "ops-docs"
EXAMPLES = ROOT / "examples"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+?) -->\n)?^```(?P<language>[a-z]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. `mark` is the comment right above it, such as `run: alone` or `file: agents/a.yaml`."""

    page: Path
    line: int
    language: str
    code: str
    mark: str | None
    #: What it prints, when the next block is marked `output`.
    output: str | None = None

    @property
    def id(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def marked(self, word: str) -> str | None:
        """What follows the word in the mark; None when the block has another mark or none."""
        name, colon, rest = (self.mark or "").partition(":")
        return (rest.strip() if colon else "") if name == word else None


def pages() -> list[Path]:
    """Every page that people read."""
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *sorted(EXAMPLES.rglob("*.md")),
        *sorted(SITE.rglob("*.md")),
    ]


def pages_beside() -> list[Path]:
    """Pages whose names are checked, and whose commands are run by other tests or by hand."""
    return [ROOT / "load_tests/README.md", ROOT / "protos/README.md"]


def blocks() -> list[Block]:
    """Every code block of every page, in order."""
    return [block for page in pages() for block in blocks_of(page)]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    for number, match in enumerate(found):
        following = found[number + 1] if number + 1 < len(found) else None
        yield Block(
            page=page,
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            code=match["code"],
            mark=match["mark"],
            output=following["code"] if following is not None and following["mark"] == "output" else None,
        )


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Where the page's links lead."""
    return [match["target"] for match in _LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """The names of the page's headings in a link."""
    return {_slug(match["text"]) for match in _HEADING.finditer(prose(page))}


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"[\s]+", "-", kept)


def navigation() -> list[str]:
    """The pages that `mkdocs.yml` lists, as paths below the documentation's folder."""
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Lenient)
    return list(_leaves(config["nav"]))


def _leaves(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for below in entry.values() if isinstance(entry, dict) else entry:
            yield from _leaves(below)


class _Lenient(yaml.SafeLoader):
    """Reads `!!python/name:` tags as nothing."""


_Lenient.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)


def command_lines(block: Block) -> Iterator[list[str]]:
    """Each `ops-core …` command of a shell block, as words."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "ops-core" in words:
            words = words[words.index("ops-core") + 1 :]
            ends = [words.index(end) for end in ("|", ">", "&", "&&", ";") if end in words]
            yield words[: min(ends, default=len(words))]
