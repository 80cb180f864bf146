"""Tools of your own: typed functions, one of them with a side effect that must not happen twice."""

import asyncio

from agentkit import Agent, MemoryJournal, OnUnknown, ReActPlanner, ToolContext, ToolRegistry, tool
from agentkit.testing import ScriptedLlm, call_of

orders = {42: 80.0}
#: The outside system: it knows the keys of the refunds it has made, and so can tell a repeat.
refunds: dict[str, float] = {}


@tool(side_effect=False)
def order_total(order: int) -> float:
    """What the customer paid for an order, in EUR."""
    return orders[order]


@tool(on_unknown=OnUnknown.retry)
async def refund(order: int, amount: float, context: ToolContext) -> str:
    """Pay money back to the customer, in EUR."""
    if context.idempotency_key not in refunds:
        refunds[context.idempotency_key] = amount
    return f"refunded {amount:.2f} EUR for order {order}"


async def main() -> None:
    # A scripted model, since refunds are beyond the demo model. It pays, and then its connection breaks.
    model = ScriptedLlm(
        [
            [call_of("order_total", order=42)],
            [call_of("refund", order=42, amount=80.0)],
            ConnectionError("the network is gone"),
            "Order 42 is refunded: 80.00 EUR.",
        ]
    )
    agent = Agent(planner=ReActPlanner(model), tools=ToolRegistry([order_total, refund]), journal=MemoryJournal())
    try:
        await agent.run("Refund order 42", run_id="refund-42")
    except ConnectionError as error:
        print(f"first run: {error}")

    # The same goal, run id and journal: finished steps are replayed, not executed again.
    report = await agent.run("Refund order 42", run_id="refund-42")
    print(f"second run: {report.outcome}")
    print(f"refunds made: {len(refunds)}, with the key {next(iter(refunds))}")


asyncio.run(main())
