"""Agent files: what is read, and how mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops_core.domain.agent import AgentDefinition, AgentLimits, ApprovalRule, KeyRule, RetryRule
from ops_core.domain.approval import Decision, OnTimeout
from ops_core.errors import AgentFileInvalid
from ops_core.runner.catalog import BUILTIN_AGENTS
from ops_core.wire.agent_file import MAX_FILE_BYTES, load_agent_files, read_agent_file


def problems_of(directory: Path) -> list[str]:
    with pytest.raises(AgentFileInvalid) as caught:
        load_agent_files(directory)
    return [
        f"{Path(p.pointer.split(':')[0]).name}:{p.pointer.split(':', 1)[1]} {p.detail}" for p in caught.value.problems
    ]


def write(directory: Path, name: str, text: str | bytes) -> Path:
    file = directory / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_a_whole_file_is_read_into_a_definition(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "researcher.yaml",
        """
name: researcher
description: Finds things out
instructions: Be brief.
model:
  provider: ollama
  name: gemma3
  base_url: http://localhost:11434/v1
  native_tools: false
  max_output_tokens: 900
planner: react
tools: [calculator, "github.*"]
mcp_servers: [demo]
limits: {steps: 5, seconds: 60, tokens: 1000, llm_seconds: 10, tool_seconds: 5, memory_tokens: 6000}
input_schema: {type: object, required: [topic]}
output_schema: {type: object}
queue: research
max_attempts: 2
timeout_seconds: 600
""",
    )
    definition = read_agent_file(file)
    assert (definition.name, definition.queue, definition.max_attempts) == ("researcher", "research", 2)
    assert definition.tools == ("calculator", "github.*")
    assert (definition.model.provider, definition.limits.steps) == ("ollama", 5)
    assert (definition.model.native_tools, definition.model.max_output_tokens) == (False, 900)
    assert definition.limits.memory_tokens == 6000
    assert definition.input_schema == {"type": "object", "required": ["topic"]}


def test_the_name_defaults_to_the_file_name(tmp_path: Path) -> None:
    assert read_agent_file(write(tmp_path, "helper.yaml", "description: helps")).name == "helper"


def test_a_definition_survives_json_and_keeps_its_digest(tmp_path: Path) -> None:
    definition = read_agent_file(write(tmp_path, "a.yaml", "tools: [x]\nlimits: {steps: 3}"))
    again = type(definition).from_json(definition.to_json())
    assert again == definition
    assert again.digest == definition.digest


def test_what_is_left_open_has_no_part_in_the_digest() -> None:
    body = AgentDefinition(name="a", limits=AgentLimits(steps=3)).to_json()
    assert (body["model"], body["limits"]) == ({}, {"steps": 3})


def test_a_change_of_the_content_changes_the_digest(tmp_path: Path) -> None:
    one = read_agent_file(write(tmp_path, "a.yaml", "instructions: a"))
    other = read_agent_file(write(tmp_path, "a.yaml", "instructions: b"))
    assert one.digest != other.digest


def test_the_built_in_agents_are_valid() -> None:
    assert [d.name for d in load_agent_files(BUILTIN_AGENTS)] == ["assistant"]


def test_an_absent_directory_holds_no_agents(tmp_path: Path) -> None:
    assert load_agent_files(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\ntols: [x]\n", "a.yaml:2: tols unknown key; known here: name, description"),
        ("limits:\n  steps: 2\n  foo: 2\n", "a.yaml:3: limits.foo unknown key; known here: steps, seconds"),
        ("limits:\n  steps: -1\n", "a.yaml:2: limits.steps Input should be greater than 0"),
        ("limits:\n  seconds: .inf\n", "a.yaml:2: limits.seconds Input should be"),
        ("timeout_seconds: .nan\n", "a.yaml:1: timeout_seconds Input should be"),
        ("model: {max_output_tokens: 0}\n", "a.yaml:1: model.max_output_tokens Input should be greater than 0"),
        ("name: b\nname: c\n", "a.yaml:2: name is given twice"),
        ("tools: [1", "a.yaml:1 not valid YAML"),
        ("- 1\n", "a.yaml:1 the file must hold a mapping"),
        ("", "a.yaml:1 the file must hold a mapping"),
        ("name: 'BAD NAME'", "a.yaml:1: name String should match pattern"),
        ("tools:\n  - ok\n  - 7\n", "a.yaml:3: tools.1 Input should be a valid string"),
        ("queue: 7up", "a.yaml:1: queue String should match pattern"),
        ("planner: magic", "a.yaml:1: planner Input should be 'react', 'plan_execute' or 'one_call'"),
        ("\ninput_schema: {type: nonsense}", "a.yaml:2: input_schema Value error, not a JSON Schema"),
        ("x: &a [*a]\n", "a.yaml:1: x unknown key"),
        (b"\xff\xfe\xfa", "a.yaml:1 the file is not valid UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "a.yaml:1 the file is over"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_field(tmp_path: Path, text: str | bytes, said: str) -> None:
    write(tmp_path, "a.yaml", text)
    assert any(problem.startswith(said) for problem in problems_of(tmp_path)), problems_of(tmp_path)


def test_the_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "wrong: 1")
    write(tmp_path, "b.yaml", "wrong: 1")
    assert {p.split(":")[0] for p in problems_of(tmp_path)} == {"a.yaml", "b.yaml"}


def test_two_files_may_not_define_the_same_agent(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: twin")
    write(tmp_path, "b.yaml", "name: twin")
    assert problems_of(tmp_path) == ["b.yaml:1: name 'twin' is already defined in a.yaml"]


WAITING = """
name: refunds
agents: [writer, writer]
approvals:
  - tool: shop.refund
    when: arguments.amount > 50
    message: Refund {amount} EUR
    groups: [finance]
    required: 2
    allowed: [approve, reject]
    timeout_seconds: 3600
    on_timeout: escalate
    escalate_to: [board]
  - when: input.amount > 1000
retry: {base_seconds: 2, max_seconds: 60}
queue_timeout_seconds: 600
attempt_timeout_seconds: 300
concurrency: {key: input.customer, limit: 3}
rate: {key: input.customer, limit: 10, per_seconds: 60}
fairness: {key: input.customer}
"""


def test_what_waits_and_what_is_limited_is_read_and_kept(tmp_path: Path) -> None:
    definition = read_agent_file(write(tmp_path, "refunds.yaml", WAITING))
    assert definition.agents == ("writer",)
    assert definition.approvals == (
        ApprovalRule(
            tool="shop.refund",
            when="arguments.amount > 50",
            message="Refund {amount} EUR",
            groups=("finance",),
            required=2,
            allowed=(Decision.approve, Decision.reject),
            timeout_seconds=3600,
            on_timeout=OnTimeout.escalate,
            escalate_to=("board",),
        ),
        ApprovalRule(when="input.amount > 1000", allowed=(Decision.approve, Decision.edit, Decision.reject)),
    )
    assert definition.retry == RetryRule(base_seconds=2, max_seconds=60)
    assert (definition.queue_timeout_seconds, definition.attempt_timeout_seconds) == (600, 300)
    assert definition.concurrency == KeyRule(key="input.customer", limit=3)
    assert definition.rate == KeyRule(key="input.customer", limit=10, per_seconds=60)
    assert definition.fairness == KeyRule(key="input.customer")
    assert AgentDefinition.from_json(definition.to_json()) == definition


def test_what_is_not_used_leaves_the_digest_as_it_was(tmp_path: Path) -> None:
    definition = read_agent_file(write(tmp_path, "plain.yaml", "name: plain\n"))
    assert {"agents", "approvals", "retry", "concurrency", "rate", "fairness"} & definition.to_json().keys() == set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("approvals:\n  - tool: x\n    when: amount > 5\n", "a.yaml:3: approvals.0.when"),
        ("approvals:\n  - tool: x\n    when: arguments.amount >\n", "a.yaml:3: approvals.0.when"),
        ("approvals:\n  - when: arguments.amount > 5\n", "a.yaml:2: approvals.0.when"),
        ("approvals:\n  - tool: x\n    wen: arguments.a\n", "unknown key; known here: tool, when, message"),
        ("approvals:\n  - tool: x\n    allowed: [maybe]\n", "a.yaml:3: approvals.0.allowed.0"),
        ("approvals:\n  - tool: x\n    allowed: [reject]\n", "must hold approve, edit or respond"),
        ("approvals:\n  - allowed: [approve, respond]\n", "cannot hold respond"),
        ("approvals:\n  - tool: x\n    required: 0\n", "a.yaml:3: approvals.0.required"),
        ("approvals:\n  - tool: x\n    on_timeout: escalate\n", "escalate needs timeout_seconds"),
        ("approvals:\n  - tool: x\n    escalate_to: [board]\n", "is not used: on_timeout is reject"),
        (
            "approvals:\n  - tool: x\n    timeout_seconds: 5\n    on_timeout: escalate\n",
            "a.yaml:2: approvals.0.escalate_to Value error, must name at least one group",
        ),
        ("agents: [Not A Name]\n", "a.yaml:1: agents.0"),
        ("retry: {base_seconds: 9, max_seconds: 3}\n", "must be at least base_seconds"),
        ("concurrency: {key: input.customer}\n", "a.yaml:1: concurrency.limit Field required"),
        ("concurrency: {key: customer, limit: 3}\n", "such as `input.customer`"),
        ("rate:\n  key: input.a.all(x, input.b.all(y, y))\n  limit: 1\n  per_seconds: 1\n", "a.yaml:2: rate.key"),
        ("rate: {key: input.a, limit: 100_001, per_seconds: 1}\n", "a.yaml:1: rate.limit"),
        ("fairness: {key: input.customer, limit: 3}\n", "unknown key; known here: key"),
        ("attempt_timeout_seconds: .inf\n", "a.yaml:1: attempt_timeout_seconds"),
        ("approvals:\n" + "  - tool: x\n" * 101, "a.yaml:1: approvals List should have at most 100 items"),
    ],
)
def test_a_mistake_about_waits_and_limits_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, "a.yaml", text)
    (found,) = problems_of(tmp_path)
    assert problem in found
