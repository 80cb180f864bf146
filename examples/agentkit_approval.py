"""A refund that a person approves: the agent stops and asks, the person changes the amount, the agent goes on."""

import asyncio

from agentkit import (
    Agent,
    Allowed,
    BaseSecurityManager,
    MemoryJournal,
    NeedsApproval,
    ReActPlanner,
    RunSuspended,
    ToolCall,
    ToolContext,
    ToolRegistry,
    ToolSpec,
    Verdict,
    tool,
)
from agentkit.testing import ScriptedLlm, call_of

GOAL = "Refund order 42."


@tool
def refund(order: int, amount: float) -> str:
    """Pay back an order."""
    return f"refunded {amount:.2f} EUR for order {order}"


class LargeRefundsNeedApproval(BaseSecurityManager):
    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        # A policy sees what the model wrote, before the tool has checked it.
        match call.arguments:
            case {"amount": int() | float() as amount} if amount <= 50:
                return Allowed()
            case arguments:
                return NeedsApproval(f"Pays back {arguments.get('amount')} EUR.")


async def main() -> None:
    # A real model decides on the call itself; this one is told to.
    model = ScriptedLlm([[call_of("refund", order=42, amount=80)], "The refund is on its way."])
    # Lasts as long as the process. With a journal of your own the two runs may be days apart, on two machines.
    journal = MemoryJournal()
    agent = Agent(
        planner=ReActPlanner(model),
        tools=ToolRegistry([refund]),
        security=LargeRefundsNeedApproval(),
        journal=journal,
    )

    try:
        await agent.run(GOAL, run_id="order-42")
    except RunSuspended as suspended:
        for wait in suspended.waits:
            print(f"{wait.key}: {wait.request['message']} {wait.request['tool']}({wait.request['arguments']})")
            # The fingerprint binds the decision to the very call that was shown.
            decision = {"decision": "edit", "arguments": {"order": 42, "amount": 40}, "by": ["ann"]}
            journal.resolve(wait.key, decision | {"fingerprint": wait.request["fingerprint"]})

    report = await agent.run(GOAL, run_id="order-42")
    print(journal.results["1/tool/1"].payload["content"])
    print(f"{report.outcome}, and the model was asked {len(model.asked)} times")


if __name__ == "__main__":
    asyncio.run(main())
