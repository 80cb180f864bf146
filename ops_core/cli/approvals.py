"""`ops-core approval …`: see what agents ask people, and decide it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.text import Text

from ops_core.cli.approval_lines import asked, ways_to_decide
from ops_core.cli.context import carried, connect
from ops_core.cli.editor import edited
from ops_core.cli.ids import CANDIDATES, find_id
from ops_core.cli.json_arguments import json_of, object_of
from ops_core.cli.output import Output, OutputFormat, Quiet, write_facts, write_line, write_table, write_value
from ops_core.cli.refusals import CommandRefused
from ops_core.cli.task_arguments import find_task
from ops_core.cli.task_tables import span
from ops_core.cli.terminal import say, shortened
from ops_core.domain.approval import ApprovalStatus, Decision
from ops_core.domain.task import JsonObject, JsonValue

if TYPE_CHECKING:
    from ops_core.client import Approval, Client

app = typer.Typer(no_args_is_help=True, help="See what agents ask people, and decide it.")

Url = Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)]
ApprovalId = Annotated[str, typer.Argument(metavar="ID", help="Id of the approval; its beginning is enough.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; the agent sees it.")]

_STYLES = {
    ApprovalStatus.pending: "yellow",
    ApprovalStatus.approved: "green",
    ApprovalStatus.responded: "green",
    ApprovalStatus.rejected: "red",
}


@app.command("list")
def list_approvals(
    context: typer.Context,
    status: Annotated[
        list[ApprovalStatus] | None, typer.Option(help="May be repeated. Not given: pending.", show_default=False)
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Those that are decided, too.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only those that this key may decide.")] = False,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="Only those of this task.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only those that this agent asked for.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100_000, help="At most so many.")] = 50,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """List approvals: those that wait for a decision, the most urgent first."""
    statuses = status or ([*ApprovalStatus] if all_of_them else [ApprovalStatus.pending])
    with connect(context, url) as client:
        task_id = None if task is None else find_task(client, task)
        found = list(client.approvals.list(statuses=statuses, task_id=task_id, agent=agent, mine=mine, limit=limit))
    if quiet:
        for approval in found:
            write_line(str(approval.id))
    elif output is OutputFormat.table:
        _write_approvals(found)
    else:
        write_value([approval.as_json() for approval in found], output)


@app.command()
def get(
    context: typer.Context,
    approval_id: ApprovalId,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Show one approval: what is asked, who may decide, what was said."""
    with connect(context, url) as client:
        approval = client.approvals.get(_find_approval(client, approval_id))
    if quiet:
        write_line(str(approval.id))
    elif output is OutputFormat.table:
        write_facts(approval.as_json())
        if approval.status == ApprovalStatus.pending:
            for line in ways_to_decide(approval):
                say(line, style="dim")
    else:
        write_value(approval.as_json(), output)


@app.command()
def approve(
    context: typer.Context,
    approval_id: ApprovalId,
    reason: Reason = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Let the agent go on as it asked."""
    with connect(context, url) as client:
        found = _find_approval(client, approval_id)
        _write_decided(client.approvals.approve(found, reason=reason), output, quiet)


@app.command()
def reject(
    context: typer.Context,
    approval_id: ApprovalId,
    reason: Reason = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Refuse it; the agent is told why, and goes on without."""
    with connect(context, url) as client:
        found = _find_approval(client, approval_id)
        _write_decided(client.approvals.reject(found, reason=reason), output, quiet)


@app.command()
def edit(
    context: typer.Context,
    approval_id: ApprovalId,
    arguments: Annotated[
        str | None,
        typer.Option(
            "--arguments",
            metavar="JSON|@FILE",
            help="All the arguments, not a difference. Not given, at a terminal: your editor opens with them.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Let the agent go on with other arguments."""
    given = None if arguments is None else object_of(arguments, option="--arguments")
    with connect(context, url) as client:
        found = _find_approval(client, approval_id)
        wanted = _edited(context, client.approvals.get(found)) if given is None else given
        _write_decided(client.approvals.edit(found, wanted, reason=reason), output, quiet)


@app.command()
def respond(
    context: typer.Context,
    approval_id: ApprovalId,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="The answer, as text.", show_default=False)] = None,
    as_json: Annotated[
        str | None, typer.Option("--json", metavar="JSON|@FILE", help="The answer, as JSON.", show_default=False)
    ] = None,
    reason: Reason = None,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Answer the agent's question, or in the tool's place."""
    response = _response(text, as_json)
    with connect(context, url) as client:
        found = _find_approval(client, approval_id)
        _write_decided(client.approvals.respond(found, response, reason=reason), output, quiet)


def _find_approval(client: Client, text: str) -> UUID:
    return find_id(
        text,
        noun="approval",
        look=lambda digits: client.approvals.list(id_prefix=digits, limit=CANDIDATES + 1),
        id_of=lambda one: one.id,
        line_of=lambda one: f"{one.id}  {one.status:<9}  {one.agent}  {shortened(asked(one), 60)}",
    )


def _edited(context: typer.Context, approval: Approval) -> JsonObject:
    if approval.arguments is None or Decision.edit not in approval.allowed:
        raise CommandRefused("this approval has no arguments to edit", advice=f"ops-core approval get {approval.id}")
    instead, here = "--arguments JSON or @FILE", carried(context)
    if not here.is_terminal():
        raise CommandRefused("there is no terminal for an editor", advice=instead)
    before = json.dumps(approval.arguments, ensure_ascii=False, indent=2) + "\n"
    after = edited(before, command=here.editor(), suffix=".json", instead=instead)
    return object_of(after, option="the file")


def _response(text: str | None, as_json: str | None) -> JsonValue:
    if (text is None) == (as_json is None):
        advice = "ops-core approval respond ID 'yes'"
        raise CommandRefused("give the answer: either as TEXT or with --json", advice=advice)
    return text if as_json is None else json_of(as_json, option="--json")


def _write_decided(approval: Approval, output: OutputFormat, quiet: bool) -> None:
    if quiet:
        write_line(str(approval.id))
    elif output is not OutputFormat.table:
        write_value(approval.as_json(), output)
    else:
        write_line(f"{approval.id}  {approval.status}")
        if approval.status == ApprovalStatus.pending:
            say(f"{approval.required} different people must approve; see who has: ops-core approval get {approval.id}")
        else:
            say(f"follow the task with: ops-core task watch {approval.task_id}", style="dim")


def _write_approvals(approvals: list[Approval]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            str(one.id),
            Text(one.status, style=_style(one.status)),
            one.agent,
            _left(one.expires_at, now),
            shortened(asked(one), 100),
        )
        for one in approvals
    ]
    write_table(("ID", "STATUS", "AGENT", "EXPIRES", "ASKS"), rows)


def _style(status: str) -> str:
    return next((style for one, style in _STYLES.items() if one == status), "dim")


def _left(expires_at: datetime | None, now: datetime) -> str:
    if expires_at is None:
        return "never"
    seconds = (expires_at - now).total_seconds()
    return span(seconds) if seconds > 0 else "over"
