"""Tools about which a person is asked first."""

from __future__ import annotations

import pytest

from agentkit import (
    Agent,
    AllowList,
    BaseSecurityManager,
    CombinedTools,
    Denied,
    JsonObject,
    MemoryJournal,
    NeedsApproval,
    ReActPlanner,
    RunReport,
    RunSuspended,
    ToolCall,
    ToolContext,
    ToolMessage,
    ToolSpec,
    Verdict,
    WaitKind,
)
from agentkit.security.ask_first import AskFirst
from agentkit.testing import CountingTool, ScriptedLlm, call_of
from agentkit.tools.prefixed import PrefixedTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


def told(report: RunReport) -> str:
    return next(message for message in report.transcript if isinstance(message, ToolMessage)).results[0].content


async def suspended(agent: Agent) -> RunSuspended:
    with pytest.raises(RunSuspended) as stopped:
        await agent.run("go", run_id="r")
    return stopped.value


def paying(tool: CountingTool, journal: MemoryJournal, security: BaseSecurityManager) -> Agent:
    tools = CombinedTools(PrefixedTools(tool, "bank"), CountingTool("look"))
    llm = ScriptedLlm([[call_of("bank.pay", amount=5)], "done"])
    return Agent(planner=ReActPlanner(llm), tools=tools, security=security, journal=journal)


async def test_a_call_waits_for_a_person_before_it_is_begun_and_is_made_once_approved() -> None:
    tool, journal = CountingTool("pay", side_effect=True), MemoryJournal()
    agent = paying(tool, journal, AskFirst("bank.*", terms={"groups": ["finance"]}))
    (wait,) = (await suspended(agent)).waits
    assert (tool.calls, journal.intents) == ([], {})
    assert wait.kind is WaitKind.approval
    assert wait.request["message"] == "Call the tool 'bank.pay' with {\"amount\": 5}."
    assert (wait.request["groups"], wait.request["arguments"]) == (["finance"], {"amount": 5})
    journal.resolve(wait.key, {"decision": "approve", "fingerprint": wait.fingerprint})
    assert told(await agent.run("go", run_id="r")) == "done"
    assert len(tool.calls) == 1


async def test_without_it_the_call_is_made_at_once() -> None:
    tool = CountingTool("pay", side_effect=True)
    report = await Agent(
        planner=ReActPlanner(ScriptedLlm([[call_of("bank.pay", amount=5)], "done"])), tools=PrefixedTools(tool, "bank")
    ).run("go")
    assert (told(report), len(tool.calls)) == ("done", 1)


@pytest.mark.parametrize(
    ("decision", "calls", "said"),
    [
        ({"decision": "reject", "reason": "too much"}, 0, "was rejected by a person: too much"),
        ({"decision": "respond", "response": "paid by hand"}, 0, "paid by hand"),
        (
            {"decision": "edit", "arguments": {"amount": 1}},
            1,
            'A person changed the arguments of this call to {"amount": 1}',
        ),
    ],
)
async def test_a_person_can_reject_answer_or_change_the_call(decision: JsonObject, calls: int, said: str) -> None:
    tool, journal = CountingTool("pay", side_effect=True), MemoryJournal()
    agent = paying(tool, journal, AskFirst("bank.*"))
    (wait,) = (await suspended(agent)).waits
    journal.resolve(wait.key, {**decision, "fingerprint": wait.fingerprint})
    assert said in told(await agent.run("go", run_id="r"))
    assert len(tool.calls) == calls


@pytest.mark.parametrize(
    ("name", "asks"), [("pay", True), ("files.delete", True), ("files.read", False), ("look", False)]
)
async def test_only_tools_that_fit_a_pattern_are_asked_about(name: str, asks: bool) -> None:
    verdict = await AskFirst(["pay", "*.delete"]).judge(call_of(name), ToolSpec(name, "", {}), CONTEXT)
    assert isinstance(verdict, NeedsApproval) is asks


class Asking(BaseSecurityManager):
    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        return NeedsApproval("mine", {"groups": ["a"]})


@pytest.mark.parametrize(
    ("inner", "name", "verdict"),
    [
        (AllowList("look"), "pay", Denied("this agent may not use the tool")),
        (AllowList("pay"), "pay", NeedsApproval("ask me")),
        (Asking(), "pay", NeedsApproval("mine", {"groups": ["a"]})),
        (Asking(), "look", NeedsApproval("mine", {"groups": ["a"]})),
    ],
)
async def test_what_another_policy_denies_or_asks_stands(
    inner: BaseSecurityManager, name: str, verdict: Verdict
) -> None:
    security = AskFirst("pay", inner=inner, message="ask me")
    assert await security.judge(call_of(name), ToolSpec(name, "", {}), CONTEXT) == verdict


@pytest.mark.parametrize(
    ("name", "arguments", "asks"),
    [
        ("mcp_proxy_tool", {"server": "files", "tool": "delete", "arguments": {"path": "/"}}, True),
        ("x.mcp_proxy_tool", {"server": "files", "tool": "delete"}, True),
        ("mcp_proxy_tool", {"server": "files", "tool": "read"}, False),
        ("mcp_proxy_tool", {"server": 3}, False),
        ("other", {"server": "files", "tool": "delete"}, False),
    ],
)
async def test_the_proxy_for_mcp_tools_is_no_way_around(name: str, arguments: JsonObject, asks: bool) -> None:
    call = ToolCall("c", name, arguments)
    verdict = await AskFirst("files.delete").judge(call, ToolSpec(name, "", {}), CONTEXT)
    assert isinstance(verdict, NeedsApproval) is asks


async def test_a_person_is_shown_long_arguments_short_and_on_one_line() -> None:
    verdict = await AskFirst("*").judge(call_of("pay", note="a\u2028b" * 1_000), ToolSpec("pay", "", {}), CONTEXT)
    assert isinstance(verdict, NeedsApproval)
    assert len(verdict.message) < 600
    assert "\u2028" not in verdict.message
