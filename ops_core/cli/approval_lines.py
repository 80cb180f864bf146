"""An approval in words: what is asked, and the commands that decide it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops_core.domain.approval import ApprovalReason, Decision

if TYPE_CHECKING:
    from ops_core.client import Approval

#: Longer arguments are not spelled out in a command.
_SPELLED_OUT = 200
#: Nobody reads more of a call before he decides it.
_CALL_CHARS = 2_000


def ways_to_decide(approval: Approval) -> Iterator[str]:
    """The commands that decide it, one a line."""
    for decision in approval.allowed:
        match decision:
            case Decision.approve:
                yield f"ops-core approval approve {approval.id}"
            case Decision.edit:
                yield f"ops-core approval edit {approval.id}{_arguments(approval)}"
            case Decision.reject:
                yield f"ops-core approval reject {approval.id} --reason 'why'"
            case Decision.respond:
                yield f"ops-core approval respond {approval.id} 'answer'"


def asked(approval: Approval) -> str:
    """What is asked, in a few words."""
    if approval.message:
        return approval.message
    call = _call(approval)
    return f"run {call} again?" if approval.reason == ApprovalReason.outcome_unknown else call


def exact_call(approval: Approval) -> str | None:
    """The call that is asked for with exactly its arguments, where `asked` tells it in other words."""
    if not approval.message or approval.tool is None:
        return None
    call = _call(approval)
    # What was left out must be plain: it is what somebody decides about.
    rest = f"… ({len(call):,} characters; all of it: ops-core approval get {approval.id})"
    return call if len(call) <= _CALL_CHARS else call[:_CALL_CHARS] + rest


def _call(approval: Approval) -> str:
    return f"{approval.tool}({json.dumps(approval.arguments or {}, ensure_ascii=False)})"


def _arguments(approval: Approval) -> str:
    text = json.dumps(approval.arguments or {}, ensure_ascii=False)
    return f" --arguments {shlex.quote(text)}" if len(text) <= _SPELLED_OUT else ""
