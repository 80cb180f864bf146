"""Which calls of an agent's tools need a person's word: the rules of its definition, as agentkit asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from agentkit.errors import BadToolArguments
from agentkit.mcp.tools import MCP_PROXY_TOOL, proxied_call
from agentkit.security.base import Allowed, BaseSecurityManager, NeedsApproval, Verdict
from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.transcript import ToolCall
from ops_core.domain.agent import ApprovalRule
from ops_core.domain.task import JsonObject, JsonValue
from ops_core.services.expressions import Unevaluable, holds

#: Characters of a message, and of one argument in it; the whole arguments are shown beside it.
_MAX_MESSAGE_CHARS = 4_000
_MAX_ARGUMENT_CHARS = 500
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")


class ApprovalPolicy(BaseSecurityManager):
    """Asks for approval where the first rule that fits says so, and allows all else."""

    def __init__(self, rules: Sequence[ApprovalRule]) -> None:
        self._rules = tuple(rule for rule in rules if rule.tool is not None)

    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        for tool, arguments in _calls_made(spec.name, call.arguments):
            rules = [rule for rule in self._rules if fnmatchcase(tool, rule.tool or "")]
            asking = first_asking(rules, "arguments", arguments)
            if asking is not None:
                default = f"Call the tool `{tool}` with {shown(arguments)}."
                return NeedsApproval(message_of(asking, arguments, default=default), terms_of(asking.rule))
        return Allowed()


def _calls_made(tool: str, arguments: JsonObject) -> list[tuple[str, JsonObject]]:
    """The call, and before it the one that it has the proxy make: no rule is got around by another way to its tool."""
    if tool != MCP_PROXY_TOOL:
        return [(tool, arguments)]
    try:
        server, reached, inner = proxied_call(arguments)
    except BadToolArguments:
        return [(tool, arguments)]
    return [(f"{server}.{reached}", inner), (tool, arguments)]


@dataclass(frozen=True, slots=True)
class Asking:
    """A rule that wants a person's word."""

    rule: ApprovalRule
    #: Why its condition could not be evaluated; empty when it could.
    doubt: str = ""


def first_asking(rules: Sequence[ApprovalRule], variable: str, data: JsonObject) -> Asking | None:
    """The first rule whose condition is true of the data, or cannot be evaluated: who cannot say no must ask."""
    for rule in rules:
        match True if rule.when is None else holds(rule.when, variable, data):
            case True:
                return Asking(rule)
            case Unevaluable(reason):
                return Asking(rule, reason)
            case False:
                continue
    return None


def message_of(asking: Asking, values: JsonObject, *, default: str) -> str:
    """What the person is told: the rule's words, with `{name}` replaced by that value."""
    template = asking.rule.message

    def value(match: re.Match[str]) -> str:
        found: JsonValue = values
        for name in match[1].split("."):
            if not isinstance(found, dict) or name not in found:
                return match[0]
            found = found[name]
        return shown(found)

    text = default if template is None else _PLACEHOLDER.sub(value, template)
    doubt = f" (Asked because the condition could not be evaluated: {asking.doubt}.)" if asking.doubt else ""
    return _shortened(text, _MAX_MESSAGE_CHARS - len(doubt)) + doubt


def terms_of(rule: ApprovalRule) -> JsonObject:
    """Who decides, and in which time, as a request carries it."""
    return {
        "groups": list(rule.groups),
        "required": rule.required,
        "timeout_seconds": rule.timeout_seconds,
        "on_timeout": rule.on_timeout.value,
        "escalate_to": list(rule.escalate_to),
        "allowed": [decision.value for decision in rule.allowed],
    }


def shown(value: JsonValue) -> str:
    """A value within a sentence: on one line, and no longer than one can read."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _shortened("".join(char if char.isprintable() else " " for char in text), _MAX_ARGUMENT_CHARS)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
