"""Agent files: YAML in, definitions out, and errors that name file, line and field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import yaml
from pydantic import ValidationError

from ops_core.domain.agent import AgentDefinition
from ops_core.errors import AgentFileInvalid, FieldProblem
from ops_core.wire.agent_sections import SECTIONS, AgentFile

#: Larger files are refused unread.
MAX_FILE_BYTES = 1_000_000

#: Keys and positions from the root of a document to a value in it.
Path_: TypeAlias = tuple[str | int, ...]


def load_agent_files(directory: Path) -> list[AgentDefinition]:
    """Every `*.yaml` and `*.yml` in the directory, in order of file name; an absent directory holds none.

    Raises:
        AgentFileInvalid: with one problem a mistake, for all files at once; `pointer` is `file:line: field`.
    """
    files = sorted(p for p in directory.glob("*.y*ml") if p.suffix in {".yaml", ".yml"}) if directory.is_dir() else []
    definitions: dict[str, tuple[Path, AgentDefinition]] = {}
    problems: list[FieldProblem] = []
    for file in files:
        try:
            definition = read_agent_file(file)
        except AgentFileInvalid as error:
            problems.extend(error.problems)
            continue
        if definition.name in definitions:
            first = definitions[definition.name][0]
            problems.append(_problem(file, 1, "name", f"{definition.name!r} is already defined in {first.name}"))
        definitions[definition.name] = (file, definition)
    if problems:
        raise _invalid(problems)
    return [definition for _, definition in definitions.values()]


def read_agent_file(file: Path) -> AgentDefinition:
    """The definition in one file.

    Raises:
        AgentFileInvalid: as `load_agent_files`.
    """
    root = _compose(file)
    outline = _Outline(root)
    if outline.doubled:
        raise _invalid([_problem(file, outline.line(p), _dotted(p), "is given twice") for p in outline.doubled])
    try:
        document = yaml.SafeLoader("").construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        raise _invalid([_problem(file, _line_of(error), "", error.problem or str(error))]) from error
    if not isinstance(document, dict):
        raise _invalid([_problem(file, 1, "", "the file must hold a mapping with at least `name`")])
    try:
        return AgentFile.model_validate({"name": file.stem, **document}).definition()
    except ValidationError as error:
        found = [
            _problem(file, outline.line(e["loc"]), _dotted(e["loc"]), _wording(e["loc"], e["type"], e["msg"]))
            for e in error.errors()
        ]
        raise _invalid(found) from error


def _compose(file: Path) -> yaml.Node | None:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise _invalid([_problem(file, 1, "", f"the file is over {MAX_FILE_BYTES} bytes")])
        return yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _invalid([_problem(file, 1, "", "the file is not valid UTF-8")]) from error
    except OSError as error:
        raise _invalid([_problem(file, 1, "", f"the file cannot be read: {error.strerror}")]) from error
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or str(error)
        raise _invalid([_problem(file, _line_of(error), "", f"not valid YAML: {reason}")]) from error


class _Outline:
    """Where everything in a file stands: the line of each value, and the keys that a mapping has twice.

    YAML loaders keep the last of two equal keys in silence.
    """

    def __init__(self, root: yaml.Node | None) -> None:
        self.lines: dict[Path_, int] = {}
        self.doubled: list[Path_] = []
        self._seen: set[int] = set()
        if root is not None:
            self._walk(root, ())

    def line(self, path: Path_) -> int:
        """The line of this value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def _walk(self, node: yaml.Node, path: Path_) -> None:
        if id(node) in self._seen:
            return  # an alias: its anchor has been walked, or is being walked
        self._seen.add(id(node))
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*path, str(key.value))
                if inner in self.lines:
                    self.doubled.append(inner)
                self.lines[inner] = key.start_mark.line + 1
                self._walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, (*path, index))


def _dotted(path: Path_) -> str:
    return ".".join(map(str, path))


def _wording(path: Path_, kind: str, message: str) -> str:
    if kind != "extra_forbidden":
        return message
    section = SECTIONS.get(str(path[0]), AgentFile) if len(path) > 1 else AgentFile
    return f"unknown key; known here: {', '.join(section.model_fields)}"


def _line_of(error: yaml.YAMLError) -> int:
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark is not None else 1


def _problem(file: Path, line: int, field: str, detail: str) -> FieldProblem:
    return FieldProblem(f"{file}:{line}" + (f": {field}" if field else ""), detail)


def _invalid(problems: Sequence[FieldProblem]) -> AgentFileInvalid:
    return AgentFileInvalid("; ".join(f"{p.pointer}: {p.detail}" for p in problems), problems=problems)
