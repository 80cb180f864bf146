"""agentkit alone: no part of the control plane, no server library, no vendor's SDK is needed to run an agent."""

from __future__ import annotations

import subprocess
import sys

#: What a process without the control plane does not have.
HIDDEN = (
    "ops_core",
    "sqlalchemy",
    "sqlmodel",
    "alembic",
    "aiosqlite",
    "psycopg",
    "dramatiq",
    "pika",
    "fastapi",
    "starlette",
    "uvicorn",
    "grpc",
    "google",
    "typer",
    "rich",
    "structlog",
    "pydantic_settings",
    "openai",
    "anthropic",
    "mcp",
)

HIDE = f"""
import importlib.abc, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN!r}:
            raise ImportError(f"{{name}} is hidden")
        return None

sys.meta_path.insert(0, Hidden())
"""

SCRIPT = """
import asyncio

from agentkit import Agent, DemoLlm, ReActPlanner, ToolRegistry, calculator

async def main() -> None:
    agent = Agent(planner=ReActPlanner(DemoLlm()), tools=ToolRegistry([calculator]))
    print((await agent.run("What is 6 * 7?")).outcome.answer)

asyncio.run(main())
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)


def test_the_ten_line_script_runs_with_everything_else_hidden() -> None:
    done = run(HIDE + SCRIPT)
    assert (done.stdout, done.stderr) == ("6 * 7 = 42\n", "")


def test_hiding_really_hides() -> None:
    done = run(HIDE + "import sqlalchemy")
    assert "sqlalchemy is hidden" in done.stderr


def test_importing_agentkit_imports_nothing_slow() -> None:
    done = run("import sys, agentkit; print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    assert set(done.stdout.split()) & {*HIDDEN, "jsonschema", "httpx2", "numpy"} == set()


def test_a_tool_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    script = """
import asyncio, time
from agentkit import Agent, Limits, ReActPlanner, ToolRegistry, tool
from agentkit.testing import ScriptedLlm, call_of

@tool(side_effect=False)
def hang() -> str:
    time.sleep(3600)
    return "never"

llm = ScriptedLlm([[call_of("hang")], "gave up"])
agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([hang]), limits=Limits(tool_seconds=0.05))
print(asyncio.run(agent.run("go")).outcome.answer)
"""
    assert run(script).stdout == "gave up\n"
