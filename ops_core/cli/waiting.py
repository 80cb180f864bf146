"""What a waiting task waits for, and the commands that bring it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops_core.cli.approval_lines import asked, ways_to_decide
from ops_core.cli.terminal import say, shortened
from ops_core.domain.approval import ApprovalStatus
from ops_core.domain.task import TaskStatus, WaitingFor

if TYPE_CHECKING:
    from ops_core.client import Client, Task

#: What somebody outside has to bring; timers and child tasks come by themselves.
_FOR_SOMEBODY = frozenset({WaitingFor.approval, WaitingFor.input, WaitingFor.signal})
#: More approvals of one task than this are told by their number.
_SHOWN = 5


def waits_for_somebody(task: Task) -> bool:
    """Whether nothing will happen until somebody outside acts."""
    return task.status is TaskStatus.waiting and task.waiting_for in _FOR_SOMEBODY


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
                for way in ways_to_decide(approval):
                    yield f"  {way}"
            if len(found) > _SHOWN:
                yield f"and more: ops-core approval list --task {task.id}"
        case WaitingFor.signal:
            yield f"  ops-core task signal {task.id} NAME '{{}}'"
        case WaitingFor.children:
            yield f"  ops-core task children {task.id}"
