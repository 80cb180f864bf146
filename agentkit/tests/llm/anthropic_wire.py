"""The messages format from the vendor's side: what it refuses, and how it answers."""

from __future__ import annotations

import json
import re

from agentkit.tests.llm.http_server import Reply, Request, json_reply
from agentkit.tests.llm.script import Asked, Blank, Call, Fail, Fault, Json, Refuse, Say, only, require

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_USAGE = {
    "input_tokens": 50,
    "cache_read_input_tokens": 40,
    "cache_creation_input_tokens": 10,
    "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 7},
}
_FAULTS = {
    Fault.bad_key: (401, "authentication_error"),
    Fault.no_credit: (402, "billing_error"),
    Fault.rate_limited: (429, "rate_limit_error"),
    Fault.too_long: (400, "invalid_request_error"),
    Fault.bad_request: (400, "invalid_request_error"),
    Fault.unknown_model: (404, "not_found_error"),
    Fault.server_error: (500, "api_error"),
    Fault.unavailable: (503, "api_error"),
    Fault.overloaded: (529, "overloaded_error"),
}
_THINKING: Json = {"type": "thinking", "thinking": "hm", "signature": "sealed"}


class AnthropicWire:
    vendor = "anthropic"

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def accept(self, request: Request, key: str) -> Asked:
        """The request, if the vendor would accept it."""
        require(request.path == f"{self.prefix}/v1/messages", f"no such path {request.path}", Fault.unknown_model)
        keys = (request.headers.get("authorization"), request.headers.get("x-api-key"))
        require(keys in ((f"Bearer {key}", None), (None, key)), "invalid bearer token", Fault.bad_key)
        require("anthropic-version" in request.headers, "anthropic-version: header is required")
        body: Json = json.loads(request.body)
        only(body, {"model", "max_tokens", "messages", "system", "tools"}, "body")
        require(isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
        require(body.get("system", "-").strip(), "system: text content blocks must be non-empty")
        tools = dict(_checked_tool(tool) for tool in body.get("tools", ()))
        require(len(tools) == len(body.get("tools", ())), "tools: Tool names must be unique.")
        _check_messages(body["messages"])
        return Asked(self.vendor, body["model"], body, request.headers, tools, _results(body["messages"]))

    def render(self, step: Say | Call | Refuse | Blank, asked: Asked) -> Reply:
        content: list[Json] = []
        details: Json | None = None
        match step:
            case Say(text, cut_short, signed):
                content = [_THINKING] * signed + [_text(text)]
                stop = "max_tokens" if cut_short else "end_turn"
            case Call(calls, text, signed, cut_short):
                content = [_THINKING] * signed + [_text(text)] * bool(text)
                content += [
                    {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": arguments}
                    for index, (name, arguments) in enumerate(calls)
                ]
                stop = "max_tokens" if cut_short else "tool_use"
            case Refuse():
                stop, details = "refusal", {"type": "refusal", "category": None, "explanation": "I will not."}
            case Blank():
                stop = "end_turn"
        return json_reply(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": f"{asked.model}-2026-11-21",
                "content": content,
                "stop_reason": stop,
                "stop_sequence": None,
                "stop_details": details,
                "usage": _USAGE,
            }
        )

    def fail(self, fail: Fail) -> Reply:
        status, kind = _FAULTS[fail.fault]
        error = {"type": kind, "message": fail.message}
        return json_reply({"type": "error", "error": error, "request_id": "req_1"}, status, dict(fail.headers))


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _checked_tool(tool: Json) -> tuple[str, Json]:
    only(tool, {"name", "description", "input_schema"}, "tool")
    require(_NAME.fullmatch(tool["name"]), "tools: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'")
    schema: Json = tool["input_schema"]
    require(schema.get("type") == "object", "input_schema.type: Field required")
    require(not schema.keys() & {"oneOf", "anyOf", "allOf"}, "input_schema does not support anyOf at the top level")
    return tool["name"], schema


def _check_messages(messages: list[Json]) -> None:
    require(messages, "messages: at least one message is required")
    require(messages[0]["role"] == "user", "messages: first message must use the user role")
    open_calls: list[str] = []
    for message in messages:
        require(message["role"] in ("user", "assistant"), "messages: unexpected role")
        require(message["content"], "messages: all messages must have non-empty content")
        answered = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        require(sorted(answered) == sorted(open_calls), "tool_use and tool_result blocks must match")
        first = [block["type"] for block in message["content"][: len(answered)]]
        require(set(first) <= {"tool_result"}, "tool_result blocks must come first")
        open_calls = [_checked_block(block) for block in message["content"] if block["type"] == "tool_use"]
        for block in message["content"]:
            require(block["type"] != "text" or block["text"].strip(), "text must contain non-whitespace text")
            require(block["type"] != "thinking" or block == _THINKING, "Invalid `signature` in `thinking` block")
    require(not open_calls, "tool_use ids were found without tool_result blocks immediately after")


def _checked_block(block: Json) -> str:
    call_id: str = block["id"]
    require(_ID.fullmatch(call_id), "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    require(_NAME.fullmatch(block["name"]), "tool_use.name: illegal")
    require(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
    return call_id


def _results(messages: list[Json]) -> tuple[str, ...]:
    results: list[str] = []
    for message in messages:
        if any(block["type"] == "text" for block in message["content"]) and message["role"] == "user":
            results = []
        results += [block["content"] for block in message["content"] if block["type"] == "tool_result"]
    return tuple(results)
