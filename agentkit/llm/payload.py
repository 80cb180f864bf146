"""A model's answer as the JSON that an LLM step keeps in the journal: never the prompt, only what is new."""

from __future__ import annotations

from dataclasses import fields

from agentkit.llm.base import LlmResponse, StopReason, Usage
from agentkit.transcript import AssistantMessage, JsonObject, message_from_json, message_to_json


def response_to_json(response: LlmResponse) -> JsonObject:
    """The inverse of `response_from_json`."""
    body: JsonObject = {
        "message": message_to_json(response.message),
        "stop": response.stop.value,
        # As `dataclasses.asdict`, which copies deeply.
        "usage": {field.name: getattr(response.usage, field.name) for field in fields(response.usage)},
        "provider": response.provider,
        "model": response.model,
    }
    return body | {"problem": response.problem} if response.problem else body


def response_from_json(body: JsonObject) -> LlmResponse:
    """The answer that `response_to_json` wrote.

    Raises:
        ValueError: the payload is not that of an LLM step.
    """
    message = message_from_json(body["message"])
    if not isinstance(message, AssistantMessage):
        raise ValueError(f"an LLM step holds an assistant message, not {type(message).__name__}")
    stop, usage = StopReason(body["stop"]), Usage(**body["usage"])
    return LlmResponse(message, stop, usage, body["provider"], body["model"], body.get("problem", ""))
