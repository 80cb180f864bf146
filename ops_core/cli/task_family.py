"""`ops-core task fork`, `children`, `signal`, `signals`: what a task gets from outside, and what comes of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ops_core.cli.context import connect
from ops_core.cli.follow import follow
from ops_core.cli.json_arguments import json_of, object_of
from ops_core.cli.output import Output, OutputFormat, Quiet, write_line, write_table, write_value
from ops_core.cli.task_arguments import find_task, read_text
from ops_core.cli.task_tables import write_tasks
from ops_core.cli.terminal import say, shortened

Url = Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="Id of the task; its beginning is enough.")]
Limit = Annotated[
    int | None,
    typer.Option("-n", "--limit", min=1, max=100_000, help="At most so many. Not given: all.", show_default=False),
]
Key = Annotated[str | None, typer.Option("--idempotency-key", metavar="KEY", help="The same key does it once.")]


def fork(
    context: typer.Context,
    task_id: TaskId,
    from_step: Annotated[
        int, typer.Option("--from-step", metavar="N", min=1, help="Steps before this one are taken over.")
    ],
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT|@FILE", help="Other instructions for the agent.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="[PROVIDER:]NAME", help="Another model.")] = None,
    input: Annotated[str | None, typer.Option("--input", metavar="JSON|@FILE", help="Another input.")] = None,
    idempotency_key: Key = None,
    follow_it: Annotated[bool, typer.Option("--watch", help="Then follow it as `task watch` does.")] = False,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Make a new task from the steps of a finished one, changed from there on."""
    value = None if input is None else object_of(input, option="--input")
    text = read_text(instructions[1:]) if instructions is not None and instructions.startswith("@") else instructions
    with connect(context, url) as client:
        found = find_task(client, task_id)
        task = client.tasks.fork(
            found,
            from_step=from_step,
            instructions=text,
            model=_model(model),
            input=value,
            idempotency_key=idempotency_key,
        )
        if follow_it:
            raise typer.Exit(follow(client, task.id, output=output, quiet=quiet))
    if output is OutputFormat.table:
        write_line(str(task.id))
        if not quiet:
            say(f"{task.status}; follow it with: ops-core task watch {task.id}", style="dim")
    else:
        write_value(task.as_json(), output)


def children(
    context: typer.Context,
    task_id: TaskId,
    limit: Limit = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """List the tasks that a task has called, oldest first."""
    with connect(context, url) as client:
        found = list(client.tasks.children(find_task(client, task_id), limit=limit))
    write_tasks(found, output, quiet)


def ancestors(
    context: typer.Context, task_id: TaskId, url: Url = None, output: Output = OutputFormat.table, quiet: Quiet = False
) -> None:
    """List a task and those above it: the one that called it, that one's caller, and so on."""
    with connect(context, url) as client:
        found = client.tasks.ancestors(find_task(client, task_id))
    write_tasks(found, output, quiet)


def signal(
    context: typer.Context,
    task_id: TaskId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the signal is called.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="JSON|@FILE", help="What it says; nothing is null.", show_default=False)
    ] = None,
    idempotency_key: Key = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Send a task a signal, whether it waits for it yet or not."""
    value = None if payload is None else json_of(payload, option="the payload")
    with connect(context, url) as client:
        sent = client.tasks.signal(find_task(client, task_id), name, value, idempotency_key=idempotency_key)
    if quiet:
        write_line(str(sent.id))
    elif output is OutputFormat.table:
        write_line(f"{sent.id}  {f'taken by {sent.taken_by}' if sent.taken_by else 'kept until it is awaited'}")
    else:
        write_value(sent.as_json(), output)


def signals(
    context: typer.Context,
    task_id: TaskId,
    limit: Limit = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """List the signals that a task was sent, oldest first."""
    with connect(context, url) as client:
        found = list(client.tasks.signals(find_task(client, task_id), limit=limit))
    if quiet:
        for one in found:
            write_line(str(one.id))
    elif output is OutputFormat.table:
        rows = [
            (str(one.id), one.name, one.sent_by, one.taken_by or "kept", shortened(json.dumps(one.payload), 80))
            for one in found
        ]
        write_table(("ID", "NAME", "FROM", "TAKEN BY", "PAYLOAD"), rows)
    else:
        write_value([one.as_json() for one in found], output)


def _model(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    provider, colon, name = text.partition(":")
    if not colon:
        return {"name": text}
    return {"provider": provider, **({"name": name} if name else {})}
