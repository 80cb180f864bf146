"""The tool with which a model runs Python."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentkit import Agent, ReActPlanner, ToolCall, ToolContext, ToolFailed, ToolRegistry, ToolTimeout
from agentkit.sandbox.base import Sandbox, SandboxLimits
from agentkit.testing import ScriptedLlm, call_of
from agentkit.tests.sandbox.strongest import sandbox_of_tests
from agentkit.tools.python import make_python


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with sandbox_of_tests(SandboxLimits(seconds=2)) as sandbox:
        yield sandbox


async def ran(sandbox: Sandbox, code: str) -> str:
    context = ToolContext(run_id="run", step_key="1/tool/1", idempotency_key="run:1/tool/1", timeout_seconds=60)
    return (await ToolRegistry([make_python(sandbox)]).call(ToolCall("id", "python", {"code": code}), context)).content


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("6 * 7", "value: 42"),
        ("x = 6\nx * 7", "value: 42"),
        ("'a\\n'", r"value: 'a\n'"),
        ("print('hello')", "stdout:\nhello"),
        ("import sys\nprint('out')\nprint('err', file=sys.stderr)\n1", "stdout:\nout\nstderr:\nerr\nvalue: 1"),
        ("x = 1", "The code ran, printed nothing and has no value."),
        ("", "The code ran, printed nothing and has no value."),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int\nA(1)", "value: A(n=1)"),
        ("import os\nos.write(1, b'\\xff\\n')\nNone", "stdout:\n\ufffd"),
        ("print('\\ud800')", "stdout:\n\\ud800"),
    ],
)
async def test_the_model_is_shown_what_was_printed_and_the_last_value(sandbox: Sandbox, code: str, shown: str) -> None:
    assert await ran(sandbox, code) == shown


async def test_an_error_is_shown_with_its_line_and_what_was_printed(sandbox: Sandbox) -> None:
    with pytest.raises(ToolFailed) as raised:
        await ran(sandbox, "print('before')\nnumber = 0\n1 / number")
    message = str(raised.value)
    assert 'File "<code>", line 3' in message
    assert "    1 / number" in message
    assert message.endswith("ZeroDivisionError: division by zero\nstdout:\nbefore")
    assert "inside.py" not in message


async def test_code_that_takes_too_long_is_stopped_and_said_so(sandbox: Sandbox) -> None:
    with pytest.raises(ToolTimeout, match=r"did not finish within 2 s\.\nstdout:\nbefore"):
        await ran(sandbox, "print('before')\nwhile True: pass")


async def test_code_that_prints_without_end_is_stopped_and_said_so(sandbox: Sandbox) -> None:
    with pytest.raises(ToolFailed, match="more than 262144 bytes"):
        await ran(sandbox, "while True: print('x' * 1000)")


def test_the_model_is_told_the_limits(sandbox: Sandbox) -> None:
    description = make_python(sandbox).spec.description
    for each in ("no network", "2 s", "512 MiB", "16 MiB", "256 KiB", "standard library"):
        assert each in description


def test_without_a_network_it_changes_nothing_outside(sandbox: Sandbox) -> None:
    assert not make_python(sandbox).spec.side_effect


async def test_an_agent_goes_on_with_what_it_worked_out(sandbox: Sandbox) -> None:
    llm = ScriptedLlm([[call_of("python", code="sum(range(10))")], "It is 45."])
    report = await Agent(planner=ReActPlanner(llm), tools=ToolRegistry([make_python(sandbox)])).run("Add 0 to 9")
    assert report.outcome.answer == "It is 45."  # type: ignore[union-attr]  # finished
