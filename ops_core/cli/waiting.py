"""What a waiting task waits for, and the commands that bring it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops_core.cli.approval_lines import asked, exact_call, ways_to_decide
from ops_core.cli.terminal import say, shortened
from ops_core.domain.approval import ApprovalStatus
from ops_core.domain.event import EventType
from ops_core.domain.task import WaitingFor

if TYPE_CHECKING:
    from ops_core.client import Client, Task

#: More approvals of one task than this are told by their number.
_SHOWN = 5


def tell_wait(client: Client, task: Task) -> None:
    """Say what a waiting task waits for, and how to bring it.

    Raises:
        ClientError
    """
    say(f"waiting for {task.waiting_for or 'something outside'}", style="yellow")
    for line in _ways(client, task):
        say(line)


def _ways(client: Client, task: Task) -> Iterator[str]:
    match task.waiting_for:
        case WaitingFor.approval | WaitingFor.input:
            found = list(client.approvals.list(task_id=task.id, statuses=[ApprovalStatus.pending], limit=_SHOWN + 1))
            for approval in found[:_SHOWN]:
                yield f"approval {approval.id}: {shortened(asked(approval), 200)}"
                if (call := exact_call(approval)) is not None:
                    yield f"  {call}"
                for way in ways_to_decide(approval):
                    yield f"  {way}"
            if len(found) > _SHOWN:
                yield f"and more: ops-core approval list --task {task.id}"
        case WaitingFor.signal:
            for name in _signals_awaited(client, task) or ["NAME"]:
                yield f"  ops-core task signal {task.id} {name} '{{}}'"
        case WaitingFor.children:
            yield f"  ops-core task children {task.id}"


def _signals_awaited(client: Client, task: Task) -> list[str]:
    """The names that the steps wait for at which the task stands, as its log has them."""
    names: dict[str, str] = {}
    standing: list[str] = []
    for event in client.tasks.past_events(task.id):
        request = event.payload.get("request")
        if event.type == EventType.signal_awaited and event.step_key and isinstance(request, dict):
            names[event.step_key] = str(request.get("name", "NAME"))
        elif event.type == EventType.task_waiting and isinstance(keys := event.payload.get("keys"), list):
            standing = [str(key) for key in keys]
    return sorted({names[key] for key in standing if key in names})
