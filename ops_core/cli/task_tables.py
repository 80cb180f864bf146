"""Tasks as they are shown: one as facts, several as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from ops_core.cli.output import OutputFormat, write_facts, write_line, write_table, write_value
from ops_core.cli.task_arguments import goal_of
from ops_core.cli.terminal import shortened
from ops_core.domain.task import TaskStatus

if TYPE_CHECKING:
    from ops_core.client import Task

_STYLES = {
    TaskStatus.completed: "green",
    TaskStatus.failed: "red",
    TaskStatus.running: "cyan",
    TaskStatus.waiting: "yellow",
    TaskStatus.canceled: "dim",
    TaskStatus.rejected: "dim",
}
#: Facts that say something only when they are more than nothing.
_USUALLY_NOTHING = ("blocked", "stream", "depth", "pending_children", "crashes")


def write_task(task: Task, output: OutputFormat, quiet: bool) -> None:
    """One task, whole."""
    if quiet:
        write_line(str(task.id))
    elif output is OutputFormat.table:
        facts = task.as_json()
        write_facts({name: value for name, value in facts.items() if value or name not in _USUALLY_NOTHING})
    else:
        write_value(task.as_json(), output)


def write_tasks(tasks: Sequence[Task], output: OutputFormat, quiet: bool) -> None:
    """Several tasks, a line each."""
    if quiet:
        for task in tasks:
            write_line(str(task.id))
    elif output is OutputFormat.table:
        now = datetime.now(UTC)
        write_table(("ID", "STATUS", "AGENT", "AGE", "GOAL"), [_row(task, now) for task in tasks])
    else:
        write_value([task.as_json() for task in tasks], output)


def _row(task: Task, now: datetime) -> Sequence[str | Text]:
    return (
        str(task.id),
        Text(task.status, style=_STYLES.get(task.status, "")),
        task.agent,
        _age(task.created_at, now),
        shortened(goal_of(task), 80),
    )


def _age(created_at: datetime | None, now: datetime) -> str:
    return "" if created_at is None else span((now - created_at).total_seconds())


def span(seconds: float) -> str:
    """A length of time in its largest unit that there are two of."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if whole >= 2 * length:
            return f"{whole // length}{unit}"
    return f"{whole}s"
