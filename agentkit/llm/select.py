"""Makes the LLM client that a provider and a model name ask for; the one place that reads AGENTKIT_ variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec

from agentkit.errors import ConfigurationError
from agentkit.llm.base import BaseLlmClient


class Provider(StrEnum):
    """The providers there are clients for."""

    #: Built in: no key, no network.
    demo = "demo"
    openai = "openai"
    #: OpenAI as well, through its Responses API: reasoning is kept from one tool call to the next.
    openai_responses = "openai-responses"
    anthropic = "anthropic"
    gemini = "gemini"
    openrouter = "openrouter"
    #: Any server that speaks OpenAI's chat completions; needs a base URL.
    openai_compatible = "openai-compatible"
    ollama = "ollama"
    vllm = "vllm"
    lmstudio = "lmstudio"


#: Where a vendor's key is looked for, in this order.
_KEY_VARIABLES = {
    Provider.openai: ("OPENAI_API_KEY",),
    Provider.openai_responses: ("OPENAI_API_KEY",),
    Provider.anthropic: ("ANTHROPIC_API_KEY",),
    Provider.gemini: ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    Provider.openrouter: ("OPENROUTER_API_KEY",),
}
OPENROUTER_BASE_URL = "https://openrouter.ai/api/v1"
#: Where the local servers listen unless told otherwise.
_LOCAL_URLS = {
    Provider.ollama: "http://localhost:11434/v1",
    Provider.vllm: "http://localhost:8000/v1",
    Provider.lmstudio: "http://localhost:1234/v1",
}


#: The package of each vendor's SDK and the extra that installs it.
_SDKS = {
    Provider.openai: ("openai", "openai"),
    Provider.anthropic: ("anthropic", "anthropic"),
    Provider.gemini: ("google.genai", "gemini"),
}


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model that can be asked: everything its client needs."""

    provider: Provider
    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


def make_llm(
    provider: str | None = None,
    model: str | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    native_tools: bool = True,
    max_output_tokens: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> BaseLlmClient:
    """The client for a model; arguments and errors as `choose_model`.

    Where AGENTKIT_FORBID_MODEL_CALLS is set (to anything but 0), as it may be for tests, it makes the demo model only.

    Args:
        native_tools: False for a model of an OpenAI-compatible server that has no tool calling of its own.
        max_output_tokens: The longest answer; None leaves it to the vendor (Anthropic demands one: 4096).
    """
    _refuse_where_forbidden(provider, os.environ if environ is None else environ)
    chosen = choose_model(provider, model, base_url=base_url, api_key=api_key, environ=environ)
    # Imported here: each client imports its vendor's SDK when it is made, which is slow and may not be installed.
    match chosen.provider:
        case Provider.demo:
            from agentkit.llm.demo import DemoLlm

            return DemoLlm.named(chosen.model)
        case Provider.anthropic:
            from agentkit.llm.anthropic_messages import AnthropicClient

            return AnthropicClient(
                chosen.model,
                api_key=chosen.api_key or "",
                base_url=chosen.base_url,
                max_output_tokens=max_output_tokens,
            )
        case Provider.gemini:
            from agentkit.llm.gemini import GeminiClient

            return GeminiClient(
                chosen.model,
                api_key=chosen.api_key or "",
                base_url=chosen.base_url,
                max_output_tokens=max_output_tokens,
            )
        case Provider.openai_responses:
            from agentkit.llm.openai_responses import OpenAiResponsesClient

            return OpenAiResponsesClient(
                chosen.model,
                api_key=chosen.api_key or "",
                base_url=chosen.base_url,
                max_output_tokens=max_output_tokens,
            )
        case _:
            from agentkit.llm.openai_chat import OpenAiChatClient

            return OpenAiChatClient(
                chosen.model,
                api_key=chosen.api_key,
                base_url=chosen.base_url,
                provider=chosen.provider.value,
                native_tools=native_tools,
                max_output_tokens=max_output_tokens,
            )


def choose_model(
    provider: str | None = None,
    model: str | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ChosenModel:
    """Which model that is, without making its client: quick, and nothing is imported.

    What is left out comes from the environment:

    - provider: AGENTKIT_LLM_PROVIDER, else the demo model
    - model: AGENTKIT_LLM_MODEL, when the provider comes from there too or is the same
    - base_url: AGENTKIT_LLM_BASE_URL, under the same condition
    - api_key: the vendor's usual variable; for OpenAI-compatible servers AGENTKIT_LLM_API_KEY, or none

    Args:
        environ: Read in place of the process's environment.

    Raises:
        ConfigurationError: a name, key, URL or package is wrong or missing; the message says which.
    """
    env = os.environ if environ is None else environ
    default = env.get("AGENTKIT_LLM_PROVIDER", "").strip()
    chosen = _provider(provider or default or Provider.demo)
    if not provider or provider == default:
        model = model or env.get("AGENTKIT_LLM_MODEL", "").strip() or None
        base_url = base_url or env.get("AGENTKIT_LLM_BASE_URL", "").strip() or None
    if chosen is Provider.demo:
        return ChosenModel(chosen, model or "demo")
    if not model:
        raise ConfigurationError(
            f"no model is named for the provider {chosen.value!r}: name one, "
            "or set AGENTKIT_LLM_PROVIDER and AGENTKIT_LLM_MODEL"
        )
    _require_sdk(chosen)
    if chosen in _KEY_VARIABLES:
        url = base_url or (OPENROUTER_BASE_URL if chosen is Provider.openrouter else None)
        return ChosenModel(chosen, model, url, api_key or _key(chosen, env))
    url = base_url or _LOCAL_URLS.get(chosen)
    if url is None:
        raise ConfigurationError(
            f"the provider {chosen.value!r} needs a base URL: pass base_url, or set AGENTKIT_LLM_BASE_URL"
        )
    return ChosenModel(chosen, model, url, api_key or env.get("AGENTKIT_LLM_API_KEY") or None)


def _refuse_where_forbidden(provider: str | None, env: Mapping[str, str]) -> None:
    if env.get("AGENTKIT_FORBID_MODEL_CALLS", "").strip() in ("", "0"):
        return
    asked = provider or env.get("AGENTKIT_LLM_PROVIDER", "").strip() or Provider.demo
    if _provider(asked) is not Provider.demo:
        raise ConfigurationError(
            f"models may not be asked here (AGENTKIT_FORBID_MODEL_CALLS is set), and {asked!r} is one: use the demo "
            "model, a scripted one or a recording"
        )


def _require_sdk(provider: Provider) -> None:
    package, extra = _SDKS.get(provider, _SDKS[Provider.openai])
    try:
        found = find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        found = False
    if not found:
        raise ConfigurationError(
            f"the provider {provider.value!r} needs a package that is not installed: pip install 'opspawn[{extra}]'"
        )


def _provider(name: str) -> Provider:
    try:
        return Provider(name.strip().lower())
    except ValueError:
        raise ConfigurationError(f"there is no model provider {name!r}; there are: {', '.join(Provider)}") from None


def _key(provider: Provider, env: Mapping[str, str]) -> str:
    names = _KEY_VARIABLES[provider]
    key = next((env[name].strip() for name in names if env.get(name, "").strip()), None)
    if key is None:
        raise ConfigurationError(f"the provider {provider.value!r} needs a key: set {' or '.join(names)}")
    return key
