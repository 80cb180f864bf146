"""The chat completions format from the vendor's side: what it refuses, and how it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from agentkit.tests.llm.http_server import Reply, Request, event, json_reply
from agentkit.tests.llm.script import (
    Answer,
    Asked,
    Blank,
    Call,
    Fail,
    Fault,
    Json,
    Refuse,
    Say,
    in_pieces,
    only,
    require,
)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 7},
}
FAULTS = {
    Fault.bad_key: (401, "invalid_request_error", "invalid_api_key"),
    Fault.no_credit: (429, "insufficient_quota", "insufficient_quota"),
    Fault.rate_limited: (429, "requests", "rate_limit_exceeded"),
    Fault.too_long: (400, "invalid_request_error", "context_length_exceeded"),
    Fault.bad_request: (400, "invalid_request_error", None),
    Fault.unknown_model: (404, "invalid_request_error", "model_not_found"),
    Fault.server_error: (500, "server_error", None),
    Fault.unavailable: (503, "service_unavailable_error", None),
    Fault.overloaded: (503, "server_error", "slow_down"),
}


class OpenAiWire:
    """`vendor` is openai (the strictest), openrouter, or compatible (no key, and the older `max_tokens`)."""

    def __init__(self, vendor: str, prefix: str) -> None:
        self.vendor = vendor
        self.prefix = prefix

    def accept(self, request: Request, key: str) -> Asked:
        """The request, if the vendor would accept it."""
        require(request.path == f"{self.prefix}/chat/completions", f"no such path {request.path}", Fault.unknown_model)
        if self.vendor != "compatible":
            authorized = request.headers.get("authorization") == f"Bearer {key}"
            require(authorized, "Incorrect API key provided", Fault.bad_key)
        body: Json = json.loads(request.body)
        limit = "max_completion_tokens" if self.vendor == "openai" else "max_tokens"
        allowed = {"model", "messages", "tools", "stream", "stream_options", "response_format", limit}
        only(body, allowed, "body")
        require(body.get("stream") or "stream_options" not in body, "stream_options: only allowed when stream is true")
        require(isinstance(body.get("model"), str) and body["model"], "you must provide a model parameter")
        require(body.get("messages"), "messages must not be empty")
        tools = dict(_checked_tool(tool) for tool in body.get("tools", ()))
        require(len(tools) == len(body.get("tools", ())), "tool names must be unique")
        self._check_messages(body["messages"])
        return Asked(
            self.vendor,
            body["model"],
            body,
            request.headers,
            tools,
            _results(body["messages"]),
            bool(body.get("stream")),
            output_schema=_checked_format(body.get("response_format")),
            attachments=tuple(_attachments(body["messages"])),
        )

    def render(self, step: Answer, asked: Asked) -> Reply:
        completion = self._completion(asked, self._choices(step))
        if not asked.stream:
            return json_reply(completion)
        counted = bool(asked.body.get("stream_options", {}).get("include_usage"))
        return Reply(content_type="text/event-stream", pieces=tuple(_chunks(completion, counted)))

    def _choices(self, step: Answer) -> list[Json]:
        match step:
            case Say(text, cut_short, signed):
                message: Json = {"role": "assistant", "content": text}
                if signed:
                    message["reasoning_details"] = [{"type": "reasoning.encrypted", "data": "sealed"}]
                finish = "length" if cut_short else "stop"
            case Call(text=text, cut_short=cut_short, signed=signed):
                message = {"role": "assistant", "content": text or None, "tool_calls": _render_calls(step)}
                if signed:
                    message["reasoning_details"] = [{"type": "reasoning.encrypted", "data": "sealed"}]
                finish = "length" if cut_short else "tool_calls"
            case Refuse():
                message, finish = {"role": "assistant", "content": None, "refusal": "I will not."}, "stop"
            case Blank():
                return []
        return [{"index": 0, "message": message, "finish_reason": finish}]

    def fail(self, fail: Fail) -> Reply:
        status, kind, code = FAULTS[fail.fault]
        error = {"message": fail.message, "type": kind, "param": None, "code": code}
        return json_reply({"error": error}, status, dict(fail.headers))

    def fail_event(self, fail: Fail) -> bytes:
        """An error in the middle of a stream: OpenRouter says its status, and more than OpenAI does."""
        status, kind, code = FAULTS[fail.fault]
        if self.vendor != "openrouter":
            return event({"error": {"message": fail.message, "type": kind, "param": None, "code": code}})
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return event({"id": "gen-1", "error": {"code": status, "message": fail.message}, "choices": [choice]})

    def _completion(self, asked: Asked, choices: list[Json]) -> Json:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": f"{asked.model}-2026-11-21",
            "choices": choices,
            "usage": _USAGE,
        }

    def _check_messages(self, messages: list[Json]) -> None:
        open_calls: list[str] = []
        for message in messages:
            role, content = message.get("role"), message.get("content")
            if role == "tool":
                require(message["tool_call_id"] in open_calls, "tool message without a preceding tool_calls")
                require(isinstance(content, str), "tool content must be a string")
                open_calls.remove(message["tool_call_id"])
                continue
            require(not open_calls, "tool_calls must be followed by tool messages responding to each tool_call_id")
            if role == "assistant":
                require(content or message.get("tool_calls"), "assistant message needs content or tool_calls")
                open_calls = [self._checked_call(call) for call in message.get("tool_calls", ())]
            else:
                require(role in ("system", "user"), f"unknown role {role}")
                require(content, "content must not be empty")
                for part in content if isinstance(content, list) else ():
                    _check_part(part)
        require(not open_calls, "tool_calls must be followed by tool messages responding to each tool_call_id")

    def _checked_call(self, call: Json) -> str:
        require(_NAME.fullmatch(call["function"]["name"]), "tool_calls: illegal function name")
        require(isinstance(json.loads(call["function"]["arguments"]), dict), "arguments must be a JSON object")
        call_id: str = call["id"]
        require(self.vendor != "openai" or len(call_id) <= 40, "tool_calls: id longer than 40")
        return call_id


def _chunks(completion: Json, counted: bool) -> Iterator[bytes]:
    """The completion as a stream: a call's arguments in halves, the usage in a chunk of its own."""
    head = completion | {"object": "chat.completion.chunk", "usage": None}
    for choice in completion["choices"]:
        message = choice["message"]
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in in_pieces(message.get("content") or "")]
        deltas += [{"refusal": piece} for piece in in_pieces(message.get("refusal") or "")]
        deltas += [{"reasoning_details": [detail]} for detail in message.get("reasoning_details", ())]
        for index, call in enumerate(message.get("tool_calls", ())):
            arguments = call["function"]["arguments"]
            half = len(arguments) // 2
            begun = call | {"index": index, "function": call["function"] | {"arguments": arguments[:half]}}
            rest = {"index": index, "function": {"arguments": arguments[half:]}}
            deltas += [{"tool_calls": [begun]}, {"tool_calls": [rest]}]
        for delta in deltas:
            yield event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield event(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    if counted:
        yield event(head | {"choices": [], "usage": completion["usage"]})
    yield event("[DONE]")


def _checked_tool(tool: Json) -> tuple[str, Json]:
    require(tool["type"] == "function", "only function tools")
    function: Json = tool["function"]
    only(function, {"name", "description", "parameters"}, "function")
    require(_NAME.fullmatch(function["name"]), "tools: illegal function name")
    parameters: Json = function["parameters"]
    require(parameters.get("type") == "object", "schema must have type object")
    require("properties" in parameters, "object schema missing properties")
    require(not parameters.keys() & {"oneOf", "anyOf", "allOf", "enum", "not"}, "schema refused at the top level")
    return function["name"], parameters


def _checked_format(format: Json | None) -> Json | None:
    if format is None:
        return None
    require(format["type"] == "json_schema", "unknown response_format")
    only(format["json_schema"], {"name", "schema", "strict"}, "response_format.json_schema")
    schema: Json = format["json_schema"]["schema"]
    require("$schema" not in schema, "response_format: $schema is not permitted")
    return schema


def _check_part(part: Json) -> None:
    match part:
        case {"type": "text", "text": str(text)}:
            require(text.strip(), "text must not be empty")
        case {"type": "image_url", "image_url": {"url": str()}}:
            pass
        case {"type": "file", "file": {"filename": str(), "file_data": str()}}:
            pass
        case _:
            require(False, f"unknown content part {part.get('type')}")


def _attachments(messages: list[Json]) -> Iterator[str]:
    for message in messages:
        for part in message.get("content") or () if isinstance(message.get("content"), list) else ():
            if part["type"] == "image_url":
                yield part["image_url"]["url"]
            if part["type"] == "file":
                yield part["file"]["file_data"]


def _results(messages: list[Json]) -> tuple[str, ...]:
    last_user = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=-1)
    return tuple(message["content"] for message in messages[last_user + 1 :] if message["role"] == "tool")


def _render_calls(step: Call) -> list[Json]:
    calls = []
    for index, (name, arguments) in enumerate(step.calls):
        written = json.dumps(arguments) if step.raw_arguments is None else step.raw_arguments
        call: Json = {"type": "function", "function": {"name": name, "arguments": written}}
        if not step.without_ids:
            call["id"] = f"call_{index}"
        if step.signed:
            call["extra_content"] = {"google": {"thought_signature": f"sealed {index}"}}
        calls.append(call)
    return calls
