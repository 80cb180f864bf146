"""Errors as a person reads them: what is wrong, where, and one line with what to try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.terminal import say

if TYPE_CHECKING:
    from ops_core.client import ClientError, RequestRefused

_TRY = {
    "agent_not_found": "ops-core agent list",
    "task_not_found": "ops-core task list",
    "task_finished": "ops-core task retry, which reopens it",
    "task_not_finished": "ops-core task cancel, and then retry",
    "approval_not_found": "ops-core approval list --all",
    "approval_decided": "ops-core approval get ID, which shows what was said",
    "approval_expired": "ops-core approval get ID, which shows what became of it",
    "not_an_approver": "ops-core approval list --mine",
    "decision_not_allowed": "ops-core approval get ID, which shows what can be said and what has to fit",
    "too_many_signals": "ops-core task signals ID, which shows those it keeps",
    "schedule_not_found": "ops-core schedule list",
    "schedule_exists": "ops-core schedule update, or another name",
    "schedule_changed": "ops-core schedule get, and then the change again",
    "step_not_found": "ops-core task events ID, which shows the steps there are",
    "permission_denied": "OPS_CORE_API_KEY with a key that has the role",
    "unauthenticated": "set OPS_CORE_API_KEY to the server's key",
    "input_schema_mismatch": "ops-core agent get AGENT, which shows the schema of its input",
    "model_not_configured": "set the key it names for the server, or AGENTKIT_LLM_PROVIDER=demo",
    "store_unavailable": "ops-core doctor on the server's machine",
    "broker_unavailable": "ops-core doctor on the server's machine",
    "idempotency_key_reused": "another --idempotency-key",
}


class CommandRefused(Exception):
    """The command cannot be carried out as it was given."""

    def __init__(self, detail: str, *, advice: str, lines: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice
        #: More to see, such as candidates.
        self.lines = tuple(lines)


def tell_refusal(error: CommandRefused) -> ExitCode:
    """Say what is wrong; returns the exit code for it."""
    tell(error.detail, advice=error.advice, lines=error.lines)
    return ExitCode.usage


def tell_client_error(error: ClientError) -> ExitCode:
    """Say what the server answered, or that it did not; returns the exit code for it."""
    from ops_core.client import RequestRefused, RequestUnsendable, ServerUnreachable, WaitTimedOut

    match error:
        case RequestRefused():
            tell(
                error.detail,
                advice=_TRY.get(error.code, "add --help to see what the command takes"),
                lines=_lines(error),
            )
            if error.status >= 500:
                say(f"request id: {error.request_id}", style="dim")
                return ExitCode.unreachable
            return ExitCode.failed if error.status in (409, 410) else ExitCode.usage
        case RequestUnsendable():
            tell(error.detail, advice="text in UTF-8")
            return ExitCode.usage
        case ServerUnreachable():
            tell(error.detail, advice="start one with `ops-core up`, or name it with --url or OPS_CORE_URL")
        case WaitTimedOut():
            tell(error.detail, advice="watch it again with `ops-core task watch ID`")
        case _:
            tell(error.detail, advice="check --url and OPS_CORE_URL")
    return ExitCode.unreachable


def tell(detail: str, *, advice: str | None = None, lines: Sequence[str] = ()) -> None:
    """An error: what is wrong, line by line what is wrong in it, and what to try."""
    say(f"error: {detail}", style="red")
    for line in lines:
        say(f"  {line}")
    if advice is not None:
        say(f"try: {advice}")


def _lines(error: RequestRefused) -> list[str]:
    """A line for each wrong field, unless the detail has said the same."""
    return [f"{one.pointer or '(whole)'}: {one.detail}" for one in error.problems if one.detail not in error.detail]
