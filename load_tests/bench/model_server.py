"""A model server that answers at once: nine times with the call of a cheap tool, then with the answer."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvloop

sys.path.append(str(Path(__file__).parent.parent))

from harness import Call, Tool, model

_TOOL_CALLS = 9


async def _answer(call: Call) -> Tool | str:
    if call.tool_results < _TOOL_CALLS:
        return Tool("calculator", expression=f"1 + {call.tool_results}")
    return "nothing"


async def _serve(port: int) -> None:
    async with model(_answer, port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(os.environ["BENCH_MODEL_PORT"])))
