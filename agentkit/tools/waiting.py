"""Tools with which a model waits: for a person, for time to pass, for a signal."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentkit.tools.base import ToolContext
from agentkit.tools.function import tool
from agentkit.tools.waits import MAX_WAIT_SECONDS
from agentkit.transcript import JsonValue


@tool(side_effect=False)
async def ask_person(
    question: Annotated[str, Field(description="The whole question; the person sees nothing else")],
    context: ToolContext,
) -> JsonValue:
    """Ask a person, and get the answer. It may take hours: ask only what you cannot find out otherwise."""
    return await context.waits.ask(question)


@tool(side_effect=False)
async def sleep(
    seconds: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS, description="How long to wait")],
    context: ToolContext,
) -> str:
    """Wait for some time, seconds or days, before going on."""
    await context.waits.sleep(seconds)
    return f"{seconds:g} s have passed."


@tool(side_effect=False)
async def wait_for_signal(
    name: Annotated[str, Field(description="Name of the signal, such as payment-received")],
    context: ToolContext,
) -> JsonValue:
    """Wait until somebody sends a signal of this name, and get what was sent with it."""
    return await context.waits.signal(name)
