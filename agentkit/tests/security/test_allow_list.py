"""Which calls the security managers allow."""

from __future__ import annotations

import pytest

from agentkit import AllowAll, Allowed, AllowList, Denied, ToolContext, ToolSpec
from agentkit.testing import call_of

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        (["demo.*"], "demo.read", True),
        (["demo.*"], "demonstrate", False),
        (["a", "b"], "b", True),
        (["calc*"], "Calculator", False),
        ([], "anything", False),
        ("calculator", "calculator", True),
        ("calculator", "c", False),
    ],
)
async def test_a_call_is_allowed_when_its_tool_fits_a_pattern(patterns: list[str], name: str, allowed: bool) -> None:
    spec = ToolSpec(name, "", {"type": "object"})
    verdict = await AllowList(patterns).judge(call_of(name), spec, CONTEXT)
    assert verdict == (Allowed() if allowed else Denied("this agent may not use the tool"))


async def test_allow_all_allows_all() -> None:
    spec = ToolSpec("anything", "", {"type": "object"})
    assert await AllowAll().judge(call_of("anything"), spec, CONTEXT) == Allowed()
