"""A tool that runs in a sandbox is the same tool to a model, and harms nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from agentkit import (
    BadToolArguments,
    ConfigurationError,
    FunctionTool,
    ToolCall,
    ToolContext,
    ToolError,
    ToolFailed,
    ToolRegistry,
    ToolTimeout,
)
from agentkit.sandbox.base import Sandbox, SandboxLimits
from agentkit.tests.sandbox.strongest import sandbox_of_tests
from agentkit.tests.sandbox.tools_to_confine import day_of, key_of, make_hidden, misbehave, secret
from agentkit.tools.sandboxed import modules_of, sandboxed

TOOLS = (day_of, key_of, secret, misbehave)


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with sandbox_of_tests(SandboxLimits(seconds=10), modules=modules_of(*TOOLS), site_packages=True) as sandbox:
        yield sandbox


@pytest.fixture
def tools(sandbox: Sandbox) -> ToolRegistry:
    return ToolRegistry(sandboxed(each, sandbox) for each in cast("tuple[FunctionTool[..., Any], ...]", TOOLS))


async def called(tools: ToolRegistry, name: str, **arguments: object) -> str:
    context = ToolContext(run_id="run", step_key="1/tool/1", idempotency_key="run:1/tool/1", timeout_seconds=60)
    return (await tools.call(ToolCall("id", name, arguments), context)).content


async def test_its_result_is_what_it_is_outside(tools: ToolRegistry) -> None:
    assert await called(tools, "day_of", day="2026-03-01") == '{"date":"2026-03-01","weekday":"Sunday"}'


async def test_a_model_sees_the_same_tool(tools: ToolRegistry) -> None:
    assert list(await tools.specs()) == [each.spec for each in TOOLS]


async def test_it_knows_the_key_of_its_call(tools: ToolRegistry) -> None:
    assert await called(tools, "key_of") == "run:1/tool/1"


async def test_it_does_not_see_the_environment(tools: ToolRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    assert (secret(), await called(tools, "secret")) == ("secret", "nothing")


async def test_wrong_arguments_are_named_as_they_are_outside(tools: ToolRegistry) -> None:
    with pytest.raises(BadToolArguments, match="Wrong arguments for 'day_of': argument 'day'"):
        await called(tools, "day_of", day="someday")


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("refuse", BadToolArguments, "not like that"),
        ("fork", ToolFailed, "raised: PermissionError"),
        ("exit", ToolFailed, "SystemExit"),
        ("leave", ToolFailed, "exit code 0"),
        ("interrupt", ToolFailed, "KeyboardInterrupt"),
        ("raise", ToolFailed, "BaseException"),
        ("recurse", ToolFailed, "RecursionError"),
        ("flood", ToolFailed, "too much output"),
        ("object", ToolFailed, "cannot be written as JSON"),
    ],
)
async def test_whatever_it_does_is_an_error_of_the_tool(
    tools: ToolRegistry, how: str, error: type[ToolError], told: str
) -> None:
    with pytest.raises(error, match=told):
        await called(tools, "misbehave", how=how)


async def test_what_it_prints_is_no_part_of_its_result(tools: ToolRegistry) -> None:
    assert await called(tools, "misbehave", how="print") == "done"


async def test_one_that_never_ends_is_stopped() -> None:
    limits = SandboxLimits(seconds=1)
    async with sandbox_of_tests(limits, modules=modules_of(misbehave), site_packages=True, waiting=0) as sandbox:
        with pytest.raises(ToolTimeout, match="within 1 s"):
            await called(ToolRegistry([sandboxed(misbehave, sandbox)]), "misbehave", how="wait")


def test_it_is_never_run_in_this_process(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="cannot be called as a function"):
        sandboxed(secret, sandbox)()


def test_a_tool_that_cannot_be_imported_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="define it at the top of a module"):
        sandboxed(cast("FunctionTool[..., Any]", make_hidden()), sandbox)


async def test_a_sandbox_without_its_module_is_refused() -> None:
    async with sandbox_of_tests(waiting=0) as bare:
        with pytest.raises(ConfigurationError, match="modules=modules_of"):
            sandboxed(secret, bare)
