"""`ops-core task submit-batch`: a file of tasks, one a line, submitted in as few requests as the server takes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ops_core.cli.context import connect
from ops_core.cli.output import Output, OutputFormat, Quiet, write_line, write_value
from ops_core.cli.refusals import CommandRefused
from ops_core.cli.task_arguments import read_text
from ops_core.cli.terminal import say
from ops_core.domain.task import JsonObject
from ops_core.errors import FieldProblem

if TYPE_CHECKING:
    from ops_core.client import Client, RequestRefused, Task

_MAX_FILE_BYTES: Final = 256 * 1024 * 1024
#: Of a request, for what stands around the tasks.
_ENVELOPE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    body: JsonObject

    @property
    def size(self) -> int:
        # As the client sends it at most, with the comma after it: text that is not ASCII takes no more in UTF-8.
        return len(json.dumps(self.body)) + 2


def submit_batch(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines, one task a line; - is stdin.")],
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="The same key and file add no second tasks.", show_default=False
        ),
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)] = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Submit a file of tasks, one a line: {"agent": "assistant", "goal": "…"}, and whatever else a submit takes.

    Prints the tasks' ids in the order of the lines. When it breaks off half-way, the same command with the same
    --idempotency-key adds what is missing.
    """
    key = idempotency_key or str(uuid.uuid4())
    lines = [_with_key(line, key) for line in _lines(read_text(file, max_bytes=_MAX_FILE_BYTES))]
    written: list[JsonObject] = []
    with connect(context, url) as client:
        limits = client.info()["limits"]
        for part in _parts(lines, most=limits["max_batch"], max_bytes=limits["max_body_bytes"]):
            for task in _submitted(client, part, done=len(written), key=key):
                written.append(task.as_json())
                if quiet or output is OutputFormat.table:
                    write_line(str(task.id))
                elif output is OutputFormat.jsonl:
                    write_value(task.as_json(), output)
    if not quiet and output in (OutputFormat.json, OutputFormat.yaml):
        write_value([*written], output)
    if not quiet:
        say(f"{len(written)} tasks; see how they stand with: ops-core task list", style="dim")


def _lines(text: str) -> Iterator[_Line]:
    """Raises:
    CommandRefused: a line holds no JSON object, or none does.
    """
    found = False
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _no_task(number, f"is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise _no_task(number, "is not a JSON object")
        found = True
        yield _Line(number, body)
    if not found:
        raise CommandRefused("the file holds no tasks", advice='lines such as {"agent": "assistant", "goal": "2 + 2"}')


def _no_task(number: int, what: str) -> CommandRefused:
    return CommandRefused(
        f"line {number} {what}; nothing was submitted",
        advice='one task a line, such as {"agent": "assistant", "goal": "2 + 2"}',
    )


def _with_key(line: _Line, key: str) -> _Line:
    # By line, so that a key means the same whatever the server's limits make of the file.
    return _Line(line.number, {"idempotency_key": f"{key}:{line.number}", **line.body})


def _parts(lines: Sequence[_Line], *, most: int, max_bytes: int) -> Iterator[list[_Line]]:
    part: list[_Line] = []
    size = _ENVELOPE_BYTES
    for line in lines:
        if part and (len(part) == most or size + line.size > max_bytes):
            yield part
            part, size = [], _ENVELOPE_BYTES
        part.append(line)
        size += line.size
    yield part


def _submitted(client: Client, part: Sequence[_Line], *, done: int, key: str) -> Sequence[Task]:
    from ops_core.client import ClientError, RequestRefused

    try:
        return client.tasks.submit_batch([line.body for line in part])
    except ClientError as error:
        if done:
            say(f"{done} tasks were submitted; go on with the same file and --idempotency-key {key}", style="yellow")
        if isinstance(error, RequestRefused):
            raise _by_line(error, part) from error
        raise


def _by_line(error: RequestRefused, part: Sequence[_Line]) -> RequestRefused:
    """The refusal in the words of the file: lines instead of places in the request."""
    from ops_core.client import RequestRefused

    def place(match: re.Match[str]) -> str:
        return f"line {part[int(match[1])].number}"

    return RequestRefused(
        re.sub(r"(?<=`)tasks\.(\d{1,6})(?=[.`])", place, error.detail),
        status=error.status,
        code=error.code,
        title=error.title,
        problems=[
            FieldProblem(re.sub(r"^/tasks/(\d{1,6})(?=/|$)", place, one.pointer), one.detail) for one in error.problems
        ],
        request_id=error.request_id,
    )
