"""Writes the parts of the documentation that the code knows best; `--check` only says whether they are fresh.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; what stands between is replaced.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, cast

import typer.main

from agentkit.errors import AgentkitError, LlmError
from ops_core.api.app import make_app
from ops_core.api.door import ApiConfig, ApiServices
from ops_core.api.error_pages import EXPLANATIONS, error_kinds
from ops_core.api.errors import http_status
from ops_core.domain.caller import Caller, Operation, Role
from ops_core.domain.event import EventType
from ops_core.domain.task import FINAL, TRANSITIONS, TaskStatus
from ops_core.entrypoints.main import build_app
from ops_core.entrypoints.settings_table import settings_table
from ops_core.errors import ConfigurationInvalid
from ops_core.rpc.errors import STATUS_CODES
from ops_core.services.limits import TaskLimits

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "ops-docs"
PROTOS = ROOT / "protos" / "ops_core" / "v1"

_PART = re.compile(r"(?P<open><!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(?P<close><!-- end -->)", re.DOTALL)


def main() -> int:
    """Write every page anew, or with `--check` compare; 1 when a page is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    only_check = parser.parse_args().check
    stale = list(stale_pages())
    for page, fresh in stale:
        if not only_check:
            page.write_text(fresh, encoding="utf-8")
        sys.stdout.write(f"{'stale' if only_check else 'written'}: {page.relative_to(ROOT)}\n")
    return 1 if stale and only_check else 0


def stale_pages(folder: Path = PAGES) -> Iterator[tuple[Path, str]]:
    """Each page that is not as it would be generated now, and its fresh text."""
    for page in sorted(folder.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        fresh = _PART.sub(lambda part: f"{part['open']}{PARTS[part['name']]().strip()}\n{part['close']}", text)
        if fresh != text:
            yield page, fresh


def statuses() -> str:
    """Every state of a task."""
    rows = [
        (f"`{status}`", "yes" if status in FINAL else "no", comment)
        for status, comment in member_comments(TaskStatus).items()
    ]
    return _table(("state", "final", "meaning"), rows)


def state_chart() -> str:
    """The states and their changes as a Mermaid state diagram; `retry` of all final states is one arrow."""
    lines = ["    [*] --> queued: submitted", "    [*] --> scheduled: submitted for later"]
    for (before, after), reason in TRANSITIONS.items():
        if before not in FINAL:
            lines.append(f"    {before} --> {after}: {reason}")
    lines += [f"    {status} --> [*]" for status in TaskStatus if status in FINAL]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```"


def transitions() -> str:
    """Every change of state there is."""
    return _table(
        ("from", "to", "when"),
        [(f"`{before}`", f"`{after}`", reason) for (before, after), reason in TRANSITIONS.items()],
    )


def events() -> str:
    """Every type of event."""
    return _table(
        ("type", "what happened"), [(f"`{kind}`", comment) for kind, comment in member_comments(EventType).items()]
    )


def errors() -> str:
    """Every error of the API with its HTTP and gRPC status."""
    rows = [
        (
            f"`{kind.code}`",
            str(http_status(kind)),
            f"`{STATUS_CODES[kind.code].name}`",
            f"{kind.title}. {EXPLANATIONS[kind.code]}",
        )
        for kind in error_kinds()
        # What keeps a process from starting reaches no client.
        if not issubclass(kind, ConfigurationInvalid)
    ]
    return _table(("code", "HTTP", "gRPC", "meaning, and what to do"), rows)


def run_errors() -> str:
    """Every error of agentkit that can end a run."""
    # Those that are defined elsewhere end no run: a suspension is none, and a tool's own are told to the model.
    ends = [kind for kind in _of_agentkit() if not kind.code.startswith("tool_")]
    return _table(
        ("code", "tried again", "meaning"),
        [
            (f"`{kind.code}`", "yes" if issubclass(kind, LlmError) and kind.retryable else "no", _first_line(kind))
            for kind in ends
        ],
    )


def tool_errors() -> str:
    """Every error that a tool call can end with; the agent is told, and goes on."""
    return _table(
        ("code", "meaning"),
        [(f"`{kind.code}`", _first_line(kind)) for kind in _of_agentkit() if kind.code.startswith("tool_")],
    )


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_command(path, command) for path, command in leaf_commands())


def leaf_commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    # Typer brings its own copy of click's classes and exports no name for them.
    todo: list[tuple[str, Any]] = [("ops-core", typer.main.get_command(build_app()))]
    while todo:
        path, command = todo.pop(0)
        if hasattr(command, "commands"):
            todo = [(f"{path} {name}", below) for name, below in command.commands.items()] + todo
        else:
            yield path, command


def roles() -> str:
    """What each role may do."""
    rows = [
        (
            f"`{role}`",
            ", ".join(
                f"`{operation}`" for operation in Operation if Caller(roles=frozenset({Role(role)})).may(operation)
            ),
            comment,
        )
        for role, comment in member_comments(Role).items()
    ]
    return _table(("role", "operations", "meaning"), rows)


def rest() -> str:
    """Every operation of the REST API."""
    document = openapi()
    parts = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation))
    return "\n\n".join(parts)


def openapi() -> dict[str, Any]:
    """The OpenAPI document of a server; no handler runs, so its services are not needed."""
    none = cast(Any, None)
    services = ApiServices(
        tasks=none, agents=none, approvals=none, signals=none, schedules=none, queues=none, health=none
    )
    return make_app(services, ApiConfig(limits=TaskLimits())).openapi()


def grpc() -> str:
    """Every method of the gRPC contract, with the comment that stands before it there."""
    return "\n\n".join(_service(file.read_text(encoding="utf-8")) for file in sorted(PROTOS.glob("*.proto")))


#: The generated parts by the name that pages mark them with.
PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings_table,
    "statuses": statuses,
    "state-chart": state_chart,
    "transitions": transitions,
    "events": events,
    "errors": errors,
    "run-errors": run_errors,
    "tool-errors": tool_errors,
    "commands": commands,
    "roles": roles,
    "rest": rest,
    "grpc": grpc,
}


def member_comments(enum: type[Enum]) -> dict[str, str]:
    """The `#:` comment above each member, by the member's value.

    Raises:
        ValueError: a member has none.
    """
    source = inspect.getsource(enum)
    lines = source.splitlines()
    found: dict[str, str] = {}
    for statement in cast(ast.ClassDef, ast.parse(source).body[0]).body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        member = enum[statement.targets[0].id]
        said: list[str] = []
        row = statement.lineno - 2
        while lines[row].lstrip().startswith("#:"):
            said.insert(0, lines[row].lstrip()[2:].strip())
            row -= 1
        if not said:
            raise ValueError(f"{enum.__name__}.{member.name} needs a `#:` comment above it: the documentation shows it")
        found[str(member.value)] = " ".join(said)
    return found


def _of_agentkit() -> Iterator[type[AgentkitError]]:
    return (kind for kind in _below(AgentkitError) if kind.__module__ == AgentkitError.__module__)


def _below(kind: type[AgentkitError]) -> Iterator[type[AgentkitError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def _first_line(kind: type[Exception]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _command(path: str, command: Any) -> str:
    context = command.make_context(path, [], resilient_parsing=True)
    # Joined, since it is wrapped to the width of whatever terminal there is.
    usage = " ".join(command.get_usage(context).split()[1:])
    help_text = "\n".join(line.strip() for line in (command.help or "").strip().splitlines())
    records = (parameter.get_help_record(context) for parameter in command.params)
    rows = [(f"`{record[0]}`", record[1]) for record in records if record is not None]
    parts = [f"## `{path}`", help_text, f"```text\n{usage}\n```"]
    return "\n\n".join([*parts, _table(("argument or option", "meaning"), rows)] if rows else parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"## `{method.upper()} {path}`", str(operation.get("description") or operation["summary"]).strip()]
    parameters = operation.get("parameters", [])
    if parameters:
        given = [(f"`{one['name']}`", one["in"], one.get("description", "")) for one in parameters]
        parts.append(_table(("parameter", "in", "meaning"), given))
    if example := _request_example(operation):
        parts.append("Body, for example:\n\n" + _json(example))
    rows = [(f"`{status}`", answer.get("description", "")) for status, answer in sorted(operation["responses"].items())]
    parts.append(_table(("answer", "meaning"), rows))
    return "\n\n".join(parts)


def _request_example(operation: Mapping[str, Any]) -> object:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    names = [
        one["$ref"].rsplit("/", 1)[1]
        for one in (schema, *schema.get("anyOf", []), *schema.get("oneOf", []))
        if "$ref" in one
    ]
    examples = openapi()["components"]["schemas"][names[0]].get("examples", []) if names else []
    return examples[-1] if examples else None


def _service(proto: str) -> str:
    service = re.search(r"^((?://[^\n]*\n)+)service (\w+) \{\n(.*?)^\}", proto, re.DOTALL | re.MULTILINE)
    if service is None:
        raise ValueError("a .proto file without a service")
    rows = [
        (
            f"`{method['name']}`",
            f"`{method['asked']}`",
            ("stream of " if method["stream"] else "") + f"`{method['answered']}`",
            _comment(method["comment"]),
        )
        for method in re.finditer(
            r"(?P<comment>(?:  //[^\n]*\n)+)  rpc (?P<name>\w+)\((?P<asked>\w+)\) "
            r"returns \((?P<stream>stream )?(?P<answered>\w+)\)",
            service[3],
        )
    ]
    return f"## `ops_core.v1.{service[2]}`\n\n{_comment(service[1])}\n\n" + _table(
        ("method", "request", "answer", "what it does"), rows
    )


def _comment(text: str) -> str:
    return " ".join(line.strip().removeprefix("//").strip() for line in text.splitlines()).strip()


def _json(value: object) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(columns)
    lines = [_row(heads), "|" + "---|" * len(heads), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
