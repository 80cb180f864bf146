"""Tools that a test runs in a sandbox: some do what tools do, some what they must not."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import date

from agentkit import BadToolArguments, ToolContext, tool
from agentkit.transcript import JsonValue


@dataclass
class Day:
    date: date
    weekday: str


@tool(side_effect=False)
def day_of(day: date) -> Day:
    """The day of the week."""
    return Day(day, day.strftime("%A"))


@tool(side_effect=True)
async def key_of(context: ToolContext) -> str:
    """The key of the call."""
    await asyncio.sleep(0)
    return context.idempotency_key


@tool(side_effect=False)
def secret() -> str:
    """What the environment holds."""
    return os.environ.get("CANARY", "nothing")


@tool(side_effect=False)
def misbehave(how: str) -> JsonValue:
    """What tools do that nobody reviewed."""
    match how:
        case "print":
            print("{}", flush=True)
            os.write(1, b"\x00\xff")
            return "done"
        case "refuse":
            raise BadToolArguments("not like that")
        case "fork":
            os.fork()
        case "exit":
            sys.exit(3)
        case "leave":
            os._exit(0)
        case "interrupt":
            raise KeyboardInterrupt
        case "raise":
            raise BaseException("all of it")
        case "recurse":
            return misbehave(how)
        case "wait":
            asyncio.run(asyncio.sleep(1000))
        case "flood":
            print("x" * 10_000_000)
        case "object":
            return object()  # type: ignore[return-value]  # what it does wrong
    return None


def make_hidden() -> object:
    @tool(side_effect=False)
    def hidden() -> str:
        """Nobody can import it."""
        return ""

    return hidden
