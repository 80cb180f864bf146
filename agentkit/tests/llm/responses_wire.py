"""OpenAI's Responses API from the vendor's side: what it refuses, and how it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from agentkit.tests.llm.http_server import Reply, Request, event, json_reply
from agentkit.tests.llm.openai_wire import FAULTS
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
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 7},
    "total_tokens": 120,
}
_REASONING: Json = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}


class ResponsesWire:
    vendor = "openai-responses"

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def accept(self, request: Request, key: str) -> Asked:
        """The request, if the vendor would accept it."""
        require(request.path == f"{self.prefix}/responses", f"no such path {request.path}", Fault.unknown_model)
        authorized = request.headers.get("authorization") == f"Bearer {key}"
        require(authorized, "Incorrect API key provided", Fault.bad_key)
        body: Json = json.loads(request.body)
        allowed = {"model", "input", "instructions", "tools", "stream", "store", "include", "max_output_tokens", "text"}
        only(body, allowed, "body")
        require(isinstance(body.get("model"), str) and body["model"], "you must provide a model parameter")
        require(body.get("input"), "input must not be empty")
        require(body.get("store") is False, "this server keeps nothing")
        tools = dict(_checked_tool(tool) for tool in body.get("tools", ()))
        require(len(tools) == len(body.get("tools", ())), "tool names must be unique")
        _check_input(body["input"])
        return Asked(
            self.vendor,
            body["model"],
            body,
            request.headers,
            tools,
            _results(body["input"]),
            bool(body.get("stream")),
            output_schema=_checked_format(body.get("text")),
            attachments=tuple(_attachments(body["input"])),
        )

    def render(self, step: Answer, asked: Asked) -> Reply:
        response = self._response(step, asked)
        if not asked.stream:
            return json_reply(response)
        return Reply(content_type="text/event-stream", pieces=tuple(_events(response)))

    def _response(self, step: Answer, asked: Asked) -> Json:
        cut_short = False
        match step:
            case Say(text, cut_short, signed):
                output = [_REASONING] * signed + [_message({"type": "output_text", "text": text, "annotations": []})]
            case Call(text=text, cut_short=cut_short, signed=signed):
                said = [_message({"type": "output_text", "text": text, "annotations": []})] * bool(text)
                output = [_REASONING] * signed + said + _render_calls(step)
            case Refuse():
                output = [_message({"type": "refusal", "refusal": "I will not."})]
            case Blank():
                output = []
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "incomplete" if cut_short else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut_short else None,
            "error": None,
            "model": f"{asked.model}-2026-11-21",
            "output": output,
            "usage": _USAGE,
        }

    def fail(self, fail: Fail) -> Reply:
        status, kind, code = FAULTS[fail.fault]
        error = {"message": fail.message, "type": kind, "param": None, "code": code}
        return json_reply({"error": error}, status, dict(fail.headers))

    def fail_event(self, fail: Fail) -> bytes:
        """An error in the middle of a stream."""
        _, kind, code = FAULTS[fail.fault]
        data = {"type": "error", "code": code or kind, "message": fail.message, "param": None, "sequence_number": 9}
        return event(data, "error")


def _message(part: Json) -> Json:
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _events(response: Json) -> Iterator[bytes]:
    """The response as a stream: items and their pieces, and all of it at the end."""
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    yield _event({"type": "response.created", "response": begun})
    for index, item in enumerate(response["output"]):
        at = {"output_index": index}
        yield _event({"type": "response.output_item.added", "item": item | {"status": "in_progress"}} | at)
        for part in item.get("content", ()) if item["type"] == "message" else ():
            kind = "output_text" if part["type"] == "output_text" else "refusal"
            for piece in in_pieces(part.get("text", part.get("refusal", ""))):
                yield _event({"type": f"response.{kind}.delta", "item_id": "msg_1", "content_index": 0, "delta": piece})
        if item["type"] == "function_call":
            half = len(item["arguments"]) // 2
            for piece in (item["arguments"][:half], item["arguments"][half:]):
                yield _event({"type": "response.function_call_arguments.delta", "delta": piece} | at)
        yield _event({"type": "response.output_item.done", "item": item} | at)
    yield _event({"type": f"response.{response['status']}", "response": response})


def _event(data: Json) -> bytes:
    return event(data, data["type"])


def _checked_tool(tool: Json) -> tuple[str, Json]:
    only(tool, {"type", "name", "description", "parameters", "strict"}, "tool")
    require(tool["type"] == "function", "only function tools")
    require(tool.get("strict") is False, "a strict schema must close its objects")
    require(_NAME.fullmatch(tool["name"]), "tools: illegal function name")
    parameters: Json = tool["parameters"]
    require(parameters.get("type") == "object", "schema must have type object")
    require(not parameters.keys() & {"oneOf", "anyOf", "allOf", "enum", "not"}, "schema refused at the top level")
    return tool["name"], parameters


def _checked_format(text: Json | None) -> Json | None:
    if text is None:
        return None
    format: Json = text["format"]
    only(format, {"type", "name", "schema", "strict"}, "text.format")
    require(format["type"] == "json_schema", "unknown format")
    schema: Json = format["schema"]
    require("$schema" not in schema, "text.format.schema: $schema is not permitted")
    return schema


def _check_input(items: list[Json]) -> None:
    open_calls: list[str] = []
    for number, item in enumerate(items):
        match item:
            case {"type": "function_call", "call_id": str(call_id), "name": str(name), "arguments": str(arguments)}:
                require(_NAME.fullmatch(name), "input: illegal function name")
                require(isinstance(json.loads(arguments), dict), "arguments must be a JSON object")
                require(0 < len(call_id) <= 64, "call_id longer than 64")
                open_calls.append(call_id)
            case {"type": "function_call_output", "call_id": call_id, "output": str()}:
                require(call_id in open_calls, f"No tool call found for function call output with call_id {call_id}")
                open_calls.remove(call_id)
            case {"type": "reasoning"}:
                require(item == _REASONING, "reasoning must come back as it was")
                follower = items[number + 1].get("type", "message") if number + 1 < len(items) else ""
                require(follower in ("message", "function_call"), "reasoning without its following item")
            case {"role": "user" | "developer" | "assistant", "content": content}:
                require(content, "content must not be empty")
                for part in content if isinstance(content, list) else ():
                    _check_part(part)
            case _:
                require(False, f"input[{number}]: unknown item")
    require(not open_calls, f"No tool output found for function call {open_calls}")


def _check_part(part: Json) -> None:
    shapes = {
        "input_text": {"text"},
        "output_text": {"text", "annotations"},
        "input_image": {"image_url", "detail"},
        "input_file": {"filename", "file_data", "file_url"},
    }
    require(part.get("type") in shapes, f"unknown part {part.get('type')}")
    only(part, {"type", *shapes[part["type"]]}, "part")
    require(part.get("text", "-").strip(), "text must not be empty")
    require(("filename" in part) == ("file_data" in part), "filename belongs to file_data")


def _attachments(items: list[Json]) -> Iterator[str]:
    for item in items:
        for part in item.get("content") or () if isinstance(item.get("content"), list) else ():
            if part["type"] in ("input_image", "input_file"):
                yield part.get("image_url") or part.get("file_data") or part["file_url"]


def _results(items: list[Json]) -> tuple[str, ...]:
    last_user = max((i for i, item in enumerate(items) if item.get("role") == "user"), default=-1)
    return tuple(item["output"] for item in items[last_user + 1 :] if item.get("type") == "function_call_output")


def _render_calls(step: Call) -> list[Json]:
    calls: list[Json] = []
    for index, (name, arguments) in enumerate(step.calls):
        written = json.dumps(arguments) if step.raw_arguments is None else step.raw_arguments
        call: Json = {"type": "function_call", "id": f"fc_{index}", "name": name, "arguments": written}
        if not step.without_ids:
            call["call_id"] = f"call_{index}"
        calls.append(call | {"status": "completed"})
    return calls
