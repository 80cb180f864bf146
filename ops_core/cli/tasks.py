"""`ops-core task …`: submit tasks, look at them, follow them, change their course."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from ops_core.cli.batch import submit_batch
from ops_core.cli.context import connect
from ops_core.cli.event_lines import event_line
from ops_core.cli.exit_codes import exit_code_of
from ops_core.cli.follow import follow, write_task_end
from ops_core.cli.output import Output, OutputFormat, Quiet, write_line, write_value
from ops_core.cli.task_arguments import find_task, goal_or_input, labels_of, moment_of
from ops_core.cli.task_family import ancestors, children, fork, signal, signals
from ops_core.cli.task_options import AgentName, Goal, InputFile, Label, TaskOptions, takes_task_options
from ops_core.cli.task_tables import write_task, write_tasks
from ops_core.cli.terminal import data_console, say
from ops_core.cli.waiting import tell_wait
from ops_core.domain.task import RetryFrom, TaskStatus

app = typer.Typer(no_args_is_help=True, help="Submit tasks, look at them, follow them, change their course.")

Url = Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="Id of the task; its beginning is enough.")]
RunAt = Annotated[str | None, typer.Option(metavar="TIME", help="Not before this time, such as 2030-01-31T09:00:00Z.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", metavar="KEY", help="The same key adds no second task.")]
GiveUp = Annotated[
    float | None,
    typer.Option("--give-up-after", metavar="SECONDS", help="Stop watching then (exit 5); the task goes on."),
]


@app.command()
@takes_task_options
def submit(
    context: typer.Context,
    agent: AgentName,
    goal: Goal = None,
    input_file: InputFile = None,
    *,
    options: TaskOptions,
    run_at: RunAt = None,
    idempotency_key: Key = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Submit a task and return at once."""
    text, value = goal_or_input(goal, input_file)
    given = options.given()
    with connect(context, url) as client:
        task = client.tasks.submit(agent, text, input=value, run_at=run_at, idempotency_key=idempotency_key, **given)
    if output is OutputFormat.table:
        write_line(str(task.id))
        if not quiet:
            say(f"{task.status}; follow it with: ops-core task watch {task.id}", style="dim")
    else:
        write_task(task, output, quiet)


app.command("submit-batch")(submit_batch)


@app.command()
@takes_task_options
def run(
    context: typer.Context,
    agent: AgentName,
    goal: Goal = None,
    input_file: InputFile = None,
    *,
    options: TaskOptions,
    idempotency_key: Key = None,
    give_up_after: GiveUp = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Submit a task, show its steps as they happen, print its answer.

    Exit code: 0 completed, 1 failed, 2 usage, 3 canceled or rejected, 4 waiting for a person, 5 time-out or connection.
    """
    text, value = goal_or_input(goal, input_file)
    given = options.given()
    with connect(context, url) as client:
        task = client.tasks.submit(agent, text, input=value, idempotency_key=idempotency_key, **given)
        if not quiet:
            say(f"task {task.id}", style="dim")
        raise typer.Exit(follow(client, task.id, give_up_after=give_up_after, output=output, quiet=quiet))


@app.command("list")
def list_tasks(
    context: typer.Context,
    status: Annotated[list[TaskStatus] | None, typer.Option(help="May be repeated.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="Only tasks of this agent.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only tasks of this queue.")] = None,
    label: Label = None,
    since: Annotated[str | None, typer.Option(metavar="AGE|TIME", help="Not older: 30m, 24h, 7d, or a time.")] = None,
    until: Annotated[str | None, typer.Option(metavar="AGE|TIME", help="Not younger.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100_000, help="At most so many.")] = 50,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """List tasks, newest first."""
    labels, after, before = labels_of(label or []), moment_of(since), moment_of(until)
    with connect(context, url) as client:
        tasks = list(
            client.tasks.list(
                statuses=status or [],
                agent=agent,
                queue=queue,
                labels=labels,
                created_after=after,
                created_before=before,
                limit=limit,
            )
        )
    write_tasks(tasks, output, quiet)
    if output is OutputFormat.table and not quiet and len(tasks) == limit:
        say(f"the newest {limit}; more with --limit", style="dim")


@app.command()
def get(
    context: typer.Context, task_id: TaskId, url: Url = None, output: Output = OutputFormat.table, quiet: Quiet = False
) -> None:
    """Show one task; of one that waits for somebody, also what it waits for and how to bring it."""
    with connect(context, url) as client:
        task = client.tasks.get(find_task(client, task_id))
        write_task(task, output, quiet)
        if output is OutputFormat.table and not quiet and task.status is TaskStatus.waiting:
            tell_wait(client, task)


@app.command()
def watch(
    context: typer.Context,
    task_id: TaskId,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    give_up_after: GiveUp = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Follow a task to its end; exit codes as `task run`. A broken connection is taken up where it broke."""
    with connect(context, url) as client:
        found = find_task(client, task_id)
        raise typer.Exit(follow(client, found, after=after, give_up_after=give_up_after, output=output, quiet=quiet))


@app.command()
def wait(
    context: typer.Context,
    task_id: TaskId,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Stop waiting then (exit 5).")] = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Wait without a word until a task ends; exit codes as `task run`."""
    with connect(context, url) as client:
        found = find_task(client, task_id)
        # Looked at first: a request that waits would tell only at its end that somebody has to act.
        task = client.tasks.get(found)
        if not (task.status.is_final or task.waits_for_somebody):
            task = client.tasks.wait(found, timeout_seconds=timeout)
        write_task_end(client, task, output=output, quiet=quiet)
    raise typer.Exit(exit_code_of(task))


@app.command()
def events(
    context: typer.Context,
    task_id: TaskId,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    url: Url = None,
    output: Output = OutputFormat.table,
) -> None:
    """Print the events there are so far; `task watch` goes on with those to come."""
    with connect(context, url) as client:
        found = list(client.tasks.past_events(find_task(client, task_id), after=after))
    if output is OutputFormat.table:
        for event in found:
            data_console().print(Text.assemble((f"{event.seq:>4}  ", "dim"), event_line(event)), soft_wrap=True)
    else:
        write_value([event.as_json() for event in found], output)


@app.command()
def cancel(
    context: typer.Context,
    task_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids; their beginnings are enough.")],
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Cancel tasks: at once, or, while they run, as soon as their worker has heard of it."""
    with connect(context, url) as client:
        found = [find_task(client, task_id) for task_id in task_ids]
        for each in found:
            task = client.tasks.cancel(each)
            if output is OutputFormat.table and not quiet:
                done = "canceled" if task.status is TaskStatus.canceled else "told to stop"
                write_line(f"{task.id}  {done}")
            else:
                write_task(task, output, quiet)


@app.command()
def retry(
    context: typer.Context,
    task_id: TaskId,
    retry_from: Annotated[
        RetryFrom | None,
        typer.Option(
            "--from",
            help="journal: finished steps are kept (the default); scratch: everything anew.",
            show_default=False,
        ),
    ] = None,
    from_step: Annotated[
        int | None,
        typer.Option("--from-step", metavar="N", min=1, help="Steps before this one are kept; it is done anew."),
    ] = None,
    follow_it: Annotated[bool, typer.Option("--watch", help="Then follow it as `task watch` does.")] = False,
    give_up_after: GiveUp = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Reopen a finished task in its next round."""
    start = retry_from or (RetryFrom.journal if from_step is None else RetryFrom.step)
    with connect(context, url) as client:
        found = find_task(client, task_id)
        before = client.tasks.get(found)
        task = client.tasks.retry(found, retry_from=start, step=from_step)
        if follow_it:
            raise typer.Exit(
                follow(client, found, after=before.seq, give_up_after=give_up_after, output=output, quiet=quiet)
            )
    if output is OutputFormat.table and not quiet:
        write_line(f"{task.id}  {task.status}")
    else:
        write_task(task, output, quiet)


app.command()(fork)
app.command()(children)
app.command()(ancestors)
app.command()(signal)
app.command()(signals)
