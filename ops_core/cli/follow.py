"""Following a task in the terminal: its events on stderr as they happen, its answer on stdout, its end as exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from ops_core.cli.event_lines import event_line
from ops_core.cli.exit_codes import ExitCode, exit_code_of
from ops_core.cli.output import OutputFormat, write_line, write_value
from ops_core.cli.terminal import printable, say, talk_console
from ops_core.cli.text_lines import TextLines
from ops_core.cli.waiting import tell_wait
from ops_core.domain.event import EventType
from ops_core.domain.task import JsonValue, TaskStatus

if TYPE_CHECKING:
    from ops_core.client import Client, Task


def follow(
    client: Client,
    task_id: UUID,
    *,
    after: int = 0,
    give_up_after: float | None = None,
    output: OutputFormat = OutputFormat.table,
    quiet: bool = False,
) -> ExitCode:
    """Show the task's events until it is final or waits for somebody, and then how it stands.

    Raises:
        ClientError: WaitTimedOut when the time is over.
    """
    try:
        task = _until_it_rests(client, task_id, after, give_up_after, output, quiet)
    except KeyboardInterrupt:
        say(f"the task goes on; see it again with: ops-core task watch {task_id}")
        raise typer.Exit(130) from None
    if output is not OutputFormat.jsonl or quiet:
        write_task_end(client, task, output=output, quiet=quiet)
    elif task.waits_for_somebody:
        tell_wait(client, task)
    return exit_code_of(task)


def _until_it_rests(
    client: Client, task_id: UUID, after: int, give_up_after: float | None, output: OutputFormat, quiet: bool
) -> Task:
    # Not at the top: only who talks to a server pays for importing the client.
    from ops_core.client.answers import Event

    console = talk_console()
    text = TextLines(console)
    for event in client.tasks.watch(task_id, after=after, timeout_seconds=give_up_after):
        if not isinstance(event, Event):
            if output is OutputFormat.jsonl and not quiet:
                write_value({"type": "text", **event.as_json()}, output)
            elif not quiet:
                text.show(event)
            continue
        text.end()
        if output is OutputFormat.jsonl and not quiet:
            write_value(event.as_json(), output)
        elif not quiet:
            console.print(event_line(event), soft_wrap=True)
        if event.type == EventType.task_waiting:
            task = client.tasks.get(task_id)
            # Old news when the stream starts from the beginning: what it waited for may have come since.
            if task.waits_for_somebody:
                return task
    return client.tasks.get(task_id)


def write_task_end(client: Client, task: Task, *, output: OutputFormat, quiet: bool) -> None:
    """The answer on stdout, or the whole task in a form for programs; what kept it from an answer on stderr."""
    if quiet:
        write_line(str(task.id))
        return
    if output is not OutputFormat.table:
        write_value(task.as_json(), output)
        return
    match task.status:
        case TaskStatus.completed:
            write_line(printable(answer_of(task.result)))
        case TaskStatus.failed:
            code, message = (task.error.code, task.error.message) if task.error else ("unknown", "")
            say(f"failed: {code}: {message}", style="red")
            say(f"try: ops-core task retry {task.id}")
        case TaskStatus.waiting:
            tell_wait(client, task)
        case status:
            say(str(status), style="yellow")


def answer_of(result: JsonValue) -> str:
    """What the agent answered, as text; JSON when it is no text."""
    answer = result.get("answer") if isinstance(result, dict) else result
    output = result.get("output") if isinstance(result, dict) else None
    if isinstance(answer, str) and output is None:
        return answer
    return json.dumps(
        result if answer is None else output if output is not None else answer, ensure_ascii=False, indent=2
    )
