"""What the exit code of a command says, so that scripts and CI can act on it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ops_core.domain.task import TaskStatus

if TYPE_CHECKING:
    from ops_core.client import Task


class ExitCode(IntEnum):
    """Documented and stable."""

    #: The task completed, or the command did what it was asked.
    ok = 0
    #: The task failed, or the command could not do what it was asked.
    failed = 1
    #: The command, the configuration or the request cannot be right.
    usage = 2
    #: The task was canceled or rejected.
    canceled = 3
    #: The task waits for a person or a signal.
    waiting = 4
    #: The time is over, or the server cannot be reached.
    unreachable = 5


def exit_code_of(task: Task) -> ExitCode:
    """What the end of a task means for whoever watched it; a live one was watched for too short a time."""
    match task.status:
        case TaskStatus.completed:
            return ExitCode.ok
        case TaskStatus.failed:
            return ExitCode.failed
        case TaskStatus.canceled | TaskStatus.rejected:
            return ExitCode.canceled
        case TaskStatus.waiting if task.waits_for_somebody:
            return ExitCode.waiting
        case TaskStatus.scheduled | TaskStatus.queued | TaskStatus.running | TaskStatus.waiting:
            return ExitCode.unreachable
