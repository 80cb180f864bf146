"""The messages format from the vendor's side: what it refuses, and how it answers."""

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
        only(body, {"model", "max_tokens", "messages", "system", "tools", "stream", "output_config"}, "body")
        require(isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
        require(body.get("system", "-").strip(), "system: text content blocks must be non-empty")
        tools = dict(_checked_tool(tool) for tool in body.get("tools", ()))
        require(len(tools) == len(body.get("tools", ())), "tools: Tool names must be unique.")
        _check_messages(body["messages"])
        return Asked(
            self.vendor,
            body["model"],
            body,
            request.headers,
            tools,
            _results(body["messages"]),
            bool(body.get("stream")),
            output_schema=_checked_format(body.get("output_config")),
            attachments=tuple(_attachments(body["messages"])),
        )

    def render(self, step: Answer, asked: Asked) -> Reply:
        message = self._message(step, asked)
        if not asked.stream:
            return json_reply(message)
        return Reply(content_type="text/event-stream", pieces=tuple(_events(message)))

    def _message(self, step: Answer, asked: Asked) -> Json:
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
        return {
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

    def fail(self, fail: Fail) -> Reply:
        status, kind = _FAULTS[fail.fault]
        error = {"type": kind, "message": fail.message}
        return json_reply({"type": "error", "error": error, "request_id": "req_1"}, status, dict(fail.headers))

    def fail_event(self, fail: Fail) -> bytes:
        """An error in the middle of a stream."""
        _, kind = _FAULTS[fail.fault]
        return event({"type": "error", "error": {"type": kind, "message": fail.message}}, "error")


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _events(message: Json) -> Iterator[bytes]:
    """The message as a stream: inputs of calls as halves of their JSON, tokens of the output counted at the end."""
    late = ("stop_reason", "stop_sequence", "stop_details")
    usage = dict(message["usage"])
    counted_late = {key: usage.pop(key) for key in ("output_tokens", "output_tokens_details")}
    begun = message | {"content": [], "usage": usage | {"output_tokens": 1}} | dict.fromkeys(late)
    yield _event({"type": "message_start", "message": begun})
    for index, block in enumerate(message["content"]):
        empty, deltas = _block_in_pieces(block)
        yield _event({"type": "content_block_start", "index": index, "content_block": empty})
        yield _event({"type": "ping"})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    yield _event({"type": "message_delta", "delta": {key: message[key] for key in late}, "usage": counted_late})
    yield _event({"type": "message_stop"})


def _block_in_pieces(block: Json) -> tuple[Json, list[Json]]:
    match block["type"]:
        case "text":
            return block | {"text": ""}, [{"type": "text_delta", "text": piece} for piece in in_pieces(block["text"])]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in block["thinking"]]
            sealed = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*deltas, sealed]
        case _:
            written = json.dumps(block["input"]) if block["input"] else ""
            half = len(written) // 2
            halves = ("", written[:half], written[half:])
            return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": half} for half in halves]


def _event(data: Json) -> bytes:
    return event(data, data["type"])


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


def _checked_format(config: Json | None) -> Json | None:
    if config is None:
        return None
    only(config, {"format"}, "output_config")
    only(config["format"], {"type", "schema"}, "output_config.format")
    require(config["format"]["type"] == "json_schema", "output_config.format.type: unknown")
    schema: Json = config["format"]["schema"]
    refused = {"$schema", "minimum", "maximum", "minLength", "maxLength"}
    require(not refused & schema.keys(), "output_config.format.schema: unsupported keyword")
    closed = schema.get("type") != "object" or schema.get("additionalProperties") is False
    require(closed, "output_config.format.schema: 'additionalProperties' must be explicitly set to false")
    return schema


def _attachments(messages: list[Json]) -> Iterator[str]:
    for message in messages:
        for block in message["content"]:
            if block["type"] not in ("image", "document"):
                continue
            source = block["source"]
            require(source["type"] in ("base64", "url"), "source.type: unknown")
            yield source.get("data") or source["url"]


def _results(messages: list[Json]) -> tuple[str, ...]:
    results: list[str] = []
    for message in messages:
        if any(block["type"] == "text" for block in message["content"]) and message["role"] == "user":
            results = []
        results += [block["content"] for block in message["content"] if block["type"] == "tool_result"]
    return tuple(results)
