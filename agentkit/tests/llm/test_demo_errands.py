"""What the demo model has done for it: refunds, questions to people, waits, work for other agents."""

from __future__ import annotations

import pytest

from agentkit import DemoLlm, ToolSpec, UserMessage
from agentkit.transcript import JsonObject


def spec(name: str, *parameters: str) -> ToolSpec:
    schema = {"type": "object", "properties": {each: {} for each in parameters}, "required": list(parameters)}
    return ToolSpec(name, "", schema)


TOOLS = [
    spec("shop.refund", "amount", "currency", "customer"),
    spec("ask_person", "question"),
    spec("sleep", "seconds"),
    spec("wait_for_signal", "name"),
    spec("agent.writer", "goal"),
]


@pytest.mark.parametrize(
    ("goal", "tool", "arguments"),
    [
        ("Refund 80 EUR to Ada", "shop.refund", {"amount": 80, "currency": "EUR", "customer": "Ada"}),
        ("Please refund 1,080.50 usd to Bob.", "shop.refund", {"amount": 1080.5, "currency": "USD", "customer": "Bob"}),
        ("Ask a person which colour to use", "ask_person", {"question": "Which colour to use?"}),
        ("Wait 2 minutes", "sleep", {"seconds": 120}),
        ("Wait for the signal payment-received", "wait_for_signal", {"name": "payment-received"}),
        ("Have the agent writer work out 6 * 7", "agent.writer", {"goal": "work out 6 * 7"}),
    ],
)
async def test_an_errand_is_one_call_of_the_tool_for_it(goal: str, tool: str, arguments: JsonObject) -> None:
    said = await DemoLlm().complete([UserMessage(goal)], tools=TOOLS, timeout_seconds=5)
    (call,) = said.message.tool_calls
    assert (call.name, call.arguments) == (tool, arguments)


async def test_without_the_tool_it_says_what_is_missing() -> None:
    said = await DemoLlm().complete([UserMessage("Refund 80 EUR to Ada")], tools=TOOLS[1:], timeout_seconds=5)
    assert said.message.text == "For this I need a tool that refunds, and I was not offered one."
