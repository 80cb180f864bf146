"""Which calls the rules of an agent hold up, and what a person is told of them."""

from __future__ import annotations

import pytest

from agentkit.security.base import Allowed, NeedsApproval, Verdict
from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.transcript import JsonObject, ToolCall
from ops_core.domain.agent import ApprovalRule
from ops_core.domain.approval import Decision, OnTimeout
from ops_core.runner.approval_policy import ApprovalPolicy

CONTEXT = ToolContext(run_id="r", step_key="1/tool/1", idempotency_key="k", timeout_seconds=5)


async def verdict(*rules: ApprovalRule, tool: str = "refund", arguments: JsonObject | None = None) -> Verdict:
    call = ToolCall("c", tool, {"amount": 80, "to": {"name": "Ada"}} if arguments is None else arguments)
    return await ApprovalPolicy(rules).judge(call, ToolSpec(tool, "", {"type": "object"}), CONTEXT)


async def asked(*rules: ApprovalRule, tool: str = "refund", arguments: JsonObject | None = None) -> NeedsApproval:
    found = await verdict(*rules, tool=tool, arguments=arguments)
    assert isinstance(found, NeedsApproval)
    return found


@pytest.mark.parametrize(
    ("rule", "tool", "is_asked"),
    [
        (ApprovalRule(tool="refund"), "refund", True),
        (ApprovalRule(tool="refund"), "refunds", False),
        (ApprovalRule(tool="shop.*"), "shop.refund", True),
        (ApprovalRule(tool="*"), "agent.writer", True),
        (ApprovalRule(tool="refund", when="arguments.amount > 100"), "refund", False),
        (ApprovalRule(when="true"), "refund", False),
    ],
)
async def test_a_rule_is_about_the_tools_it_names(rule: ApprovalRule, tool: str, is_asked: bool) -> None:
    assert isinstance(await verdict(rule, tool=tool), NeedsApproval) is is_asked


PROXIED: JsonObject = {"server": "till", "tool": "refund", "arguments": {"amount": 80}}


@pytest.mark.parametrize(
    ("rule", "is_asked"),
    [
        (ApprovalRule(tool="till.refund", when="arguments.amount > 50"), True),
        (ApprovalRule(tool="till.refund", when="arguments.amount > 100"), False),
        (ApprovalRule(tool="till.*"), True),
        (ApprovalRule(tool="mcp_proxy_tool", when="arguments.server == 'till'"), True),
        (ApprovalRule(tool="bank.*"), False),
    ],
)
async def test_the_proxy_of_mcp_servers_is_no_way_around_a_rule(rule: ApprovalRule, is_asked: bool) -> None:
    found = await verdict(rule, tool="mcp_proxy_tool", arguments=PROXIED)
    assert isinstance(found, NeedsApproval) is is_asked


async def test_of_a_call_through_the_proxy_the_message_tells_what_is_called() -> None:
    found = await asked(ApprovalRule(tool="till.refund"), tool="mcp_proxy_tool", arguments=PROXIED)
    assert found.message == 'Call the tool `till.refund` with {"amount": 80}.'


async def test_a_call_that_the_proxy_will_refuse_reaches_no_tool_that_a_rule_is_about() -> None:
    assert await verdict(ApprovalRule(tool="till.*"), tool="mcp_proxy_tool", arguments={"server": "till"}) == Allowed()


async def test_without_rules_every_call_is_allowed() -> None:
    assert await verdict() == Allowed()


async def test_the_first_rule_that_holds_decides() -> None:
    rules = (
        ApprovalRule(tool="refund", when="arguments.amount > 1000", groups=("board",)),
        ApprovalRule(tool="refund", when="arguments.amount > 50", groups=("finance",)),
        ApprovalRule(tool="*", groups=("anybody",)),
    )
    assert (await asked(*rules)).terms["groups"] == ["finance"]


async def test_a_condition_that_cannot_be_evaluated_asks_and_says_so() -> None:
    found = await asked(ApprovalRule(tool="refund", when="arguments.total > 50", message="Refund."))
    assert found.message == "Refund. (Asked because the condition could not be evaluated: there is no 'total'.)"


async def test_the_message_is_filled_from_the_arguments() -> None:
    rule = ApprovalRule(tool="refund", message="Refund {amount} EUR to {to.name} ({unknown}, {to.age})")
    assert (await asked(rule)).message == "Refund 80 EUR to Ada ({unknown}, {to.age})"


async def test_what_the_model_wrote_stays_on_one_line_and_short() -> None:
    rule = ApprovalRule(tool="refund", message="To {to}: {note}")
    message = (await asked(rule, arguments={"to": "Ada\n# Approved\x1b[2J", "note": "x" * 10_000})).message
    assert message.startswith("To Ada # Approved [2J: xxx")
    assert len(message) < 600


async def test_without_a_message_the_tool_and_its_arguments_are_told() -> None:
    found = await asked(ApprovalRule(tool="refund"))
    assert found.message == 'Call the tool `refund` with {"amount": 80, "to": {"name": "Ada"}}.'


async def test_the_terms_are_those_of_the_rule() -> None:
    rule = ApprovalRule(
        tool="refund",
        groups=("finance",),
        required=2,
        allowed=(Decision.approve, Decision.reject),
        timeout_seconds=60.0,
        on_timeout=OnTimeout.escalate,
        escalate_to=("board",),
    )
    assert (await asked(rule)).terms == {
        "groups": ["finance"],
        "required": 2,
        "allowed": ["approve", "reject"],
        "timeout_seconds": 60.0,
        "on_timeout": "escalate",
        "escalate_to": ["board"],
    }
