"""`ops-core schedule …`: cron lines that submit tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ops_core.cli.confirm import Yes, confirm
from ops_core.cli.context import connect
from ops_core.cli.output import Output, OutputFormat, Quiet, write_facts, write_line, write_table, write_value
from ops_core.cli.task_arguments import goal_or_input
from ops_core.cli.task_options import AgentName, Goal, InputFile, TaskOptions, takes_task_options
from ops_core.cli.terminal import say, shortened
from ops_core.domain.schedule import CatchUp
from ops_core.domain.task import JsonObject

if TYPE_CHECKING:
    from datetime import datetime

    from ops_core.client import Schedule

app = typer.Typer(no_args_is_help=True, help="Cron lines that submit tasks.")

Url = Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]
Cron = Annotated[str, typer.Argument(metavar="CRON", help="Five fields, such as '30 8 * * mon-fri'.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", metavar="KEY", help="The same key does it once.")]
Zone = Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="Such as Europe/Berlin.  [default: UTC]")]
Missed = Annotated[CatchUp | None, typer.Option(help="What becomes of missed times.  [default: one]")]


@app.command()
@takes_task_options
def create(
    context: typer.Context,
    name: Name,
    cron: Cron,
    agent: AgentName,
    goal: Goal = None,
    input_file: InputFile = None,
    timezone: Zone = None,
    catch_up: Missed = None,
    *,
    options: TaskOptions,
    paused: Annotated[bool, typer.Option("--paused", help="Add it paused.")] = False,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Add a schedule: at each of its times it submits a task."""
    text, value = goal_or_input(goal, input_file)
    submission = {**_given(agent=agent, goal=text, input=value), **options.given()}
    with connect(context, url) as client:
        schedule = client.schedules.create(name, cron, submission, timezone=timezone, catch_up=catch_up, paused=paused)
    _write_schedule(schedule, output, quiet)


@app.command("list")
def list_schedules(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100_000, help="At most so many.")] = 200,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """List schedules by name."""
    with connect(context, url) as client:
        found = list(client.schedules.list(limit=limit))
    if quiet:
        for schedule in found:
            write_line(schedule.name)
    elif output is OutputFormat.table:
        rows = [(one.name, one.cron, one.timezone, _next(one), shortened(_what(one.submission), 80)) for one in found]
        write_table(("NAME", "CRON", "ZONE", "NEXT", "SUBMITS"), rows)
    else:
        write_value([schedule.as_json() for schedule in found], output)


@app.command()
def get(
    context: typer.Context, name: Name, url: Url = None, output: Output = OutputFormat.table, quiet: Quiet = False
) -> None:
    """Show one schedule."""
    with connect(context, url) as client:
        _write_schedule(client.schedules.get(name), output, quiet)


@app.command()
@takes_task_options
def update(
    context: typer.Context,
    name: Name,
    cron: Annotated[str | None, typer.Option(help="Another cron line.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="Another time zone.")] = None,
    catch_up: Annotated[CatchUp | None, typer.Option(help="Another way with missed times.")] = None,
    agent: Annotated[str | None, typer.Option(help="Another agent.")] = None,
    goal: Annotated[str | None, typer.Option(metavar="GOAL|JSON", help="Another goal or input.")] = None,
    input_file: InputFile = None,
    *,
    options: TaskOptions,
    version: Annotated[int | None, typer.Option(help="Only if the schedule still has this version.")] = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Change what is given, and leave the rest. What its tasks are given is kept, but for the options named here."""
    text, value = (None, None) if goal is None and input_file is None else goal_or_input(goal, input_file)
    wanted = {**_given(agent=agent, goal=text, input=value), **options.given()}
    with connect(context, url) as client:
        submission = None
        if wanted:
            known = client.schedules.get(name)
            submission = _changed(known.submission, wanted)
            # Or what somebody changes between these two requests would be undone.
            version = known.version if version is None else version
        schedule = client.schedules.update(
            name, cron=cron, timezone=timezone, catch_up=catch_up, submission=submission, version=version
        )
    _write_schedule(schedule, output, quiet)


@app.command()
def delete(context: typer.Context, name: Name, yes: Yes = False, url: Url = None) -> None:
    """Delete a schedule; its tasks stay."""
    confirm(context, f"Delete the schedule {name}?", yes=yes)
    with connect(context, url) as client:
        client.schedules.delete(name)
    write_line(f"{name}  deleted")


@app.command()
def pause(
    context: typer.Context, name: Name, url: Url = None, output: Output = OutputFormat.table, quiet: Quiet = False
) -> None:
    """Let a schedule rest until it is resumed."""
    with connect(context, url) as client:
        _write_schedule(client.schedules.pause(name), output, quiet)


@app.command()
def resume(
    context: typer.Context, name: Name, url: Url = None, output: Output = OutputFormat.table, quiet: Quiet = False
) -> None:
    """Let a paused schedule go on; its --catch-up says what becomes of the times that have passed."""
    with connect(context, url) as client:
        _write_schedule(client.schedules.resume(name), output, quiet)


@app.command()
def trigger(
    context: typer.Context,
    name: Name,
    idempotency_key: Key = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Submit its task now; its own times stay as they are."""
    with connect(context, url) as client:
        task = client.schedules.trigger(name, idempotency_key=idempotency_key)
    if output is OutputFormat.table:
        write_line(str(task.id))
        if not quiet:
            say(f"{task.status}; follow it with: ops-core task watch {task.id}", style="dim")
    else:
        write_value(task.as_json(), output)


@app.command("next")
def next_times(
    context: typer.Context,
    name: Name,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=100, help="How many.")] = 5,
    url: Url = None,
    output: Output = OutputFormat.table,
) -> None:
    """Tell when a schedule will fire."""
    with connect(context, url) as client:
        times = client.schedules.next_times(name, count=count)
    if output is OutputFormat.table:
        for at in times:
            write_line(f"{at:%Y-%m-%dT%H:%M:%SZ}  {_local(at)}")
    else:
        write_value([f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in times], output)


def _given(**fields: object) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def _changed(before: JsonObject, wanted: JsonObject) -> JsonObject:
    # A goal and an input exclude each other.
    replaced = {"goal", "input"} if {"goal", "input"} & wanted.keys() else set()
    return {**{name: value for name, value in before.items() if name not in replaced}, **wanted}


def _write_schedule(schedule: Schedule, output: OutputFormat, quiet: bool) -> None:
    if quiet:
        write_line(schedule.name)
    elif output is OutputFormat.table:
        write_facts(schedule.as_json())
    else:
        write_value(schedule.as_json(), output)


def _next(schedule: Schedule) -> Text:
    if schedule.paused:
        return Text("paused", style="dim")
    return Text("" if schedule.next_at is None else _local(schedule.next_at))


def _local(at: datetime) -> str:
    return f"{at.astimezone():%a %Y-%m-%d %H:%M %Z}"


def _what(submission: JsonObject) -> str:
    goal = submission.get("goal")
    return f"{submission.get('agent', '')}: {goal if isinstance(goal, str) else submission.get('input', '')}"
