"""The scripted model, the counting tool, recordings as tests, and the switch that forbids real models."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit import ConfigurationError, DemoLlm, LlmError, RateLimited, StopReason, ToolContext, UserMessage, make_llm
from agentkit.testing import CountingTool, ReplayingLlm, ScriptedLlm, call_of, replayed_or_recorded


async def test_replies_come_in_order_and_questions_are_kept() -> None:
    llm = ScriptedLlm(["text", [call_of("a", n=1)], RateLimited("later")])
    assert (await llm.complete([UserMessage("1")], timeout_seconds=1)).message.text == "text"
    assert (await llm.complete([UserMessage("2")], timeout_seconds=1)).stop is StopReason.tool_calls
    with pytest.raises(RateLimited):
        await llm.complete([], timeout_seconds=1)
    with pytest.raises(LlmError, match="no reply left for question 4"):
        await llm.complete([], timeout_seconds=1)
    assert [asked.messages for asked in llm.asked[:2]] == [(UserMessage("1"),), (UserMessage("2"),)]


async def test_a_counting_tool_keeps_its_calls() -> None:
    count = CountingTool(answer="yes")
    context = ToolContext("r", "1/tool/1", "k", 1)
    assert (await count.call(call_of("count", n=1), context)).content == "yes"
    assert count.calls == [(call_of("count", n=1), context)]


async def test_a_test_is_recorded_once_and_repeated_from_then_on(tmp_path: Path) -> None:
    path, question = tmp_path / "calls.jsonl", [UserMessage("Say something.")]
    real = ScriptedLlm(["Something.", "Something else."])
    answers = []
    for _ in range(3):
        llm = replayed_or_recorded(path, lambda: real)
        answers.append((await llm.complete(question, timeout_seconds=9)).message.text)
        await llm.aclose()
    assert answers == ["Something."] * 3
    assert len(real.asked) == 1


async def test_a_recording_that_is_there_needs_no_real_model(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    await replayed_or_recorded(path, DemoLlm).complete([UserMessage("What is 1 + 1?")], timeout_seconds=9)

    def never() -> DemoLlm:
        raise AssertionError("the real model was made")

    assert isinstance(replayed_or_recorded(path, never), ReplayingLlm)


async def test_what_must_not_be_kept_is_made_unreadable_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    for _ in range(2):
        llm = replayed_or_recorded(
            path, lambda: ScriptedLlm(["my secret"]), redact=lambda text: text.replace("secret", "…")
        )
        response = await llm.complete([UserMessage("the secret?")], timeout_seconds=9)
    assert "secret" not in path.read_text()
    assert response.message.text == "my …"


OPENAI = {"OPENAI_API_KEY": "sk-openai"}


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "openrouter", "ollama", "openai-compatible"])
def test_where_real_models_are_forbidden_none_is_made_with_or_without_its_key(provider: str) -> None:
    for keys in (OPENAI, {}):
        with pytest.raises(ConfigurationError, match=f"may not be asked here .* and '{provider}' is one"):
            make_llm(provider, "some-model", environ={"AGENTKIT_FORBID_MODEL_CALLS": "1", **keys})


def test_the_default_model_is_forbidden_alike() -> None:
    with pytest.raises(ConfigurationError, match="may not be asked here"):
        make_llm(environ={"AGENTKIT_FORBID_MODEL_CALLS": "1", "AGENTKIT_LLM_PROVIDER": "openai", **OPENAI})


@pytest.mark.parametrize("provider", [None, "demo"])
def test_the_demo_model_is_never_forbidden(provider: str | None) -> None:
    assert isinstance(make_llm(provider, environ={"AGENTKIT_FORBID_MODEL_CALLS": "1"}), DemoLlm)


@pytest.mark.parametrize("switch", ["1", "true", "yes", "no"])
def test_any_other_word_is_a_switch_that_is_on(switch: str) -> None:
    with pytest.raises(ConfigurationError):
        make_llm("openai", "some-model", environ={"AGENTKIT_FORBID_MODEL_CALLS": switch, **OPENAI})


def test_the_switch_is_read_from_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_FORBID_MODEL_CALLS", "1")
    with pytest.raises(ConfigurationError, match="may not be asked here"):
        make_llm("openai", "some-model", api_key="sk-openai")
