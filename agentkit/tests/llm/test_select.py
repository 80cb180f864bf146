"""Which client a provider and a model name give, and what is said when they cannot."""

from __future__ import annotations

import pytest

from agentkit import BaseLlmClient, ConfigurationError, DemoLlm, make_llm

KEYS = {
    "OPENAI_API_KEY": "sk-openai",
    "ANTHROPIC_API_KEY": "sk-anthropic",
    "GEMINI_API_KEY": "sk-gemini",
    "OPENROUTER_API_KEY": "sk-openrouter",
}


def made(provider: str | None = None, model: str | None = None, *, env: dict[str, str] | None = None) -> BaseLlmClient:
    return make_llm(provider, model, environ=env or {})


def test_without_any_setting_it_is_the_demo_model() -> None:
    llm = made()
    assert isinstance(llm, DemoLlm)
    assert (llm.provider, llm.model) == ("demo", "demo")


def test_the_default_comes_from_the_environment() -> None:
    llm = made(env={"AGENTKIT_LLM_PROVIDER": "demo", "AGENTKIT_LLM_MODEL": "demo:slow"})
    assert llm.model == "demo:slow"


def test_a_named_provider_does_not_take_another_providers_default_model() -> None:
    env = {"AGENTKIT_LLM_PROVIDER": "openai", "AGENTKIT_LLM_MODEL": "gpt-x", **KEYS}
    assert made("demo", env=env).model == "demo"
    with pytest.raises(ConfigurationError, match="no model is named for the provider 'anthropic'"):
        made("anthropic", env=env)


def test_a_named_model_goes_with_the_default_provider() -> None:
    assert made(model="demo:text", env={"AGENTKIT_LLM_PROVIDER": "demo"}).model == "demo:text"


@pytest.mark.parametrize(
    ("provider", "client", "reported"),
    [
        ("openai", "OpenAiChatClient", "openai"),
        ("openrouter", "OpenAiChatClient", "openrouter"),
        ("anthropic", "AnthropicClient", "anthropic"),
        ("gemini", "GeminiClient", "gcp.gemini"),
        ("ollama", "OpenAiChatClient", "ollama"),
        ("vllm", "OpenAiChatClient", "vllm"),
        ("lmstudio", "OpenAiChatClient", "lmstudio"),
        (" OpenAI ", "OpenAiChatClient", "openai"),
    ],
)
async def test_each_provider_has_its_client(provider: str, client: str, reported: str) -> None:
    llm = made(provider, "some-model", env=KEYS)
    assert type(llm).__name__ == client
    assert (llm.provider, llm.model) == (reported, "some-model")
    await llm.aclose()


@pytest.mark.parametrize(
    ("provider", "variables"),
    [
        ("openai", "set OPENAI_API_KEY"),
        ("anthropic", "set ANTHROPIC_API_KEY"),
        ("gemini", "set GEMINI_API_KEY or GOOGLE_API_KEY"),
        ("openrouter", "set OPENROUTER_API_KEY"),
    ],
)
def test_a_missing_key_is_named(provider: str, variables: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the provider '{provider}' needs a key: {variables}"):
        made(provider, "some-model", env={"OPENAI_API_KEY": "  "})


async def test_gemini_takes_its_key_from_either_variable() -> None:
    llm = made("gemini", "some-model", env={"GOOGLE_API_KEY": "sk-google"})
    await llm.aclose()


def test_an_unknown_provider_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no model provider 'gpt'; there are: demo, openai, openai-responses"):
        made("gpt", "x")


def test_a_compatible_server_needs_its_address() -> None:
    with pytest.raises(ConfigurationError, match="set AGENTKIT_LLM_BASE_URL"):
        made("openai-compatible", "some-model")


async def test_a_compatible_server_may_lack_tool_calling_and_is_not_given_the_vendors_key() -> None:
    llm = make_llm(
        "openai-compatible", "some-model", base_url="http://127.0.0.1:9/v1", native_tools=False, environ=KEYS
    )
    assert not llm.native_tools
    assert "sk-openai" not in str(vars(llm))
    await llm.aclose()


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "openrouter", "ollama"])
async def test_the_longest_answer_can_be_chosen_for_every_provider(provider: str) -> None:
    llm = make_llm(provider, "some-model", max_output_tokens=77, environ=KEYS)
    assert vars(llm)["_max_output_tokens"] == 77
    await llm.aclose()


def test_a_key_never_shows_in_the_clients_repr() -> None:
    for provider in ("openai", "anthropic", "gemini", "openrouter"):
        assert "sk-" not in repr(made(provider, "some-model", env=KEYS))


@pytest.mark.parametrize("switch", ["", " ", "0"])
async def test_a_switch_that_is_off_forbids_no_model(switch: str) -> None:
    llm = made("openai", "some-model", env={"AGENTKIT_FORBID_MODEL_CALLS": switch, **KEYS})
    assert llm.provider == "openai"
    await llm.aclose()
