"""What a run waits for, in agentkit's words and in ours."""

from __future__ import annotations

from agentkit.waits import Wait as AgentWait
from agentkit.waits import WaitKind
from ops_core.domain.approval import ApprovalReason, ApprovalRequest, Decision
from ops_core.domain.task import JsonObject, NewTask, Task
from ops_core.domain.wait import ApprovalWait, ChildWait, InputWait, SignalWait, TimerWait, Wait
from ops_core.runner.children import ChildRefused, Children


async def wait_of(wait: AgentWait, *, task: Task, children: Children) -> Wait | ChildRefused:
    """The wait as the store keeps it; or that there can be no such child.

    Raises:
        StoreUnavailable
    """
    request = wait.request
    match wait.kind:
        case WaitKind.approval:
            return ApprovalWait(key=wait.key, request=ApprovalRequest.from_json(request))
        case WaitKind.input:
            return InputWait(key=wait.key, request=_question(request))
        case WaitKind.signal:
            return SignalWait(key=wait.key, name=request["name"], timeout_seconds=request["timeout_seconds"])
        case WaitKind.timer:
            return TimerWait(key=wait.key, seconds=request["seconds"])
        case WaitKind.child:
            child = await children.new(task, wait.key, request)
            return ChildWait(key=wait.key, child=child) if isinstance(child, NewTask) else child


def _question(request: JsonObject) -> ApprovalRequest:
    return ApprovalRequest(
        reason=ApprovalReason.input_required,
        message=request["question"],
        response_schema=request["schema"],
        allowed=(Decision.respond, Decision.reject),
        groups=tuple(request["groups"]),
        timeout_seconds=request["timeout_seconds"],
    )
