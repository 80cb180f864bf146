"""What a suspended task waits for: a closed union that the runner asks for and the store keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from ops_core.domain.approval import ApprovalRequest
from ops_core.domain.task import JsonObject, NewTask, WaitingFor


class WaitKind(StrEnum):
    """What one step waits for."""

    approval = "approval"
    input = "input"
    signal = "signal"
    timer = "timer"
    child = "child"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWait:
    """A person decides about a tool call, about a step of unknown outcome, or about the task itself."""

    #: Key of the step that waits, such as `3/tool/1/approval`.
    key: str
    request: ApprovalRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class InputWait:
    """A person answers a question of the agent. It is shown and answered where approvals are."""

    key: str
    request: ApprovalRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalWait:
    """Somebody sends a signal of this name; one that was sent before is kept and taken."""

    key: str
    name: str
    #: Counted from the database's now; None to wait for ever.
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerWait:
    """Time passes."""

    key: str
    #: Counted from the database's now.
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildWait:
    """A child task ends. The store adds it in the transaction that suspends its parent, once."""

    key: str
    child: NewTask


Wait: TypeAlias = ApprovalWait | InputWait | SignalWait | TimerWait | ChildWait


def kind_of(wait: Wait) -> WaitKind:
    """The word for it in the task's log."""
    match wait:
        case ApprovalWait():
            return WaitKind.approval
        case InputWait():
            return WaitKind.input
        case SignalWait():
            return WaitKind.signal
        case TimerWait():
            return WaitKind.timer
        case ChildWait():
            return WaitKind.child


#: What a task shows that waits for several things: a person comes first.
_SHOWN = {
    WaitKind.approval: WaitingFor.approval,
    WaitKind.input: WaitingFor.input,
    WaitKind.signal: WaitingFor.signal,
    WaitKind.timer: WaitingFor.timer,
    WaitKind.child: WaitingFor.children,
}


def waiting_for(waits: Iterable[Wait]) -> WaitingFor:
    """What a task shows that waits for all this; at least one."""
    kinds = {kind_of(wait) for wait in waits}
    return next(shown for kind, shown in _SHOWN.items() if kind in kinds)


def wait_payload(wait: Wait) -> JsonObject:
    """What the task's log says of a wait when it begins: the same on both databases."""
    match wait:
        case ApprovalWait(request=request) | InputWait(request=request):
            return {"request": request.to_json()}
        case SignalWait(name=name, timeout_seconds=timeout):
            return {"request": {"name": name, "timeout_seconds": timeout}}
        case TimerWait(seconds=seconds):
            return {"request": {"seconds": seconds}}
        case ChildWait(child=child):
            return {"request": {"agent": child.agent, "task_id": str(child.id)}}
