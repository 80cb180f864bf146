"""The generateContent format from the vendor's side: what it refuses, and how it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

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

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_SKIP = "skip_thought_signature_validator"
_USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 13,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 120,
}
_FAULTS = {
    Fault.bad_key: (400, "INVALID_ARGUMENT"),
    Fault.no_credit: (402, "FAILED_PRECONDITION"),
    Fault.rate_limited: (429, "RESOURCE_EXHAUSTED"),
    Fault.too_long: (400, "INVALID_ARGUMENT"),
    Fault.bad_request: (400, "INVALID_ARGUMENT"),
    Fault.unknown_model: (404, "NOT_FOUND"),
    Fault.server_error: (500, "INTERNAL"),
    Fault.unavailable: (503, "UNAVAILABLE"),
    Fault.overloaded: (503, "UNAVAILABLE"),
}


class GeminiWire:
    vendor = "gemini"

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def accept(self, request: Request, key: str) -> Asked:
        """The request, if the vendor would accept it."""
        methods = r"generateContent|streamGenerateContent\?alt=sse"
        path = re.fullmatch(rf"{self.prefix}/v1(beta)?/models/([^/:]+):({methods})", unquote(request.path))
        require(path, f"no such path {request.path}", Fault.unknown_model)
        require(request.headers.get("x-goog-api-key") == key, "API key not valid.", Fault.bad_key)
        assert path is not None
        body: Json = json.loads(request.body)
        only(body, {"contents", "systemInstruction", "tools", "generationConfig"}, "body")
        tools = dict(_checked_tool(tool) for group in body.get("tools", ()) for tool in group["functionDeclarations"])
        _check_contents(body["contents"], signed=path[2].startswith("gemini-3"))
        return Asked(
            self.vendor,
            path[2],
            body,
            request.headers,
            tools,
            _results(body["contents"]),
            path[3].startswith("stream"),
            output_schema=_checked_format(body.get("generationConfig", {})),
            attachments=tuple(_attachments(body["contents"])),
        )

    def render(self, step: Answer, asked: Asked) -> Reply:
        answer = self._answer(step, asked)
        if not asked.stream:
            return json_reply(answer)
        return Reply(content_type="text/event-stream", pieces=tuple(_chunks(answer)))

    def _answer(self, step: Answer, asked: Asked) -> Json:
        match step:
            case Say(text, cut_short, signed):
                parts: list[Json] = [{"text": "hm", "thought": True}] * signed + [{"text": text}]
                if signed:
                    parts[-1]["thoughtSignature"] = "c2VhbGVk"
                finish = "MAX_TOKENS" if cut_short else "STOP"
            case Call(text=text, cut_short=cut_short):
                parts = ([{"text": text}] if text else []) + _render_calls(step)
                finish = "MAX_TOKENS" if cut_short else "STOP"
            case Refuse():
                return {"candidates": [{"index": 0, "finishReason": "SAFETY"}], "usageMetadata": _USAGE}
            case Blank():
                return {"candidates": [], "usageMetadata": _USAGE}
        candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}
        return {"candidates": [candidate], "usageMetadata": _USAGE, "modelVersion": f"{asked.model}-2026-11-21"}

    def fail(self, fail: Fail) -> Reply:
        status, _ = _FAULTS[fail.fault]
        return json_reply(self._error(fail), status, dict(fail.headers))

    def fail_event(self, fail: Fail) -> bytes:
        """An error in the middle of a stream."""
        return event(self._error(fail))

    def _error(self, fail: Fail) -> Json:
        status, name = _FAULTS[fail.fault]
        details: list[Json] = []
        if fail.fault is Fault.bad_key:
            details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"})
        if fail.retry_delay_seconds is not None:
            delay = f"{fail.retry_delay_seconds}s"
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
        return {"error": {"code": status, "message": fail.message, "status": name, "details": details}}


def _chunks(answer: Json) -> Iterator[bytes]:
    """The answer as a stream: text word by word, calls whole, a signature with the last word, why it stopped last."""
    candidates = answer["candidates"]
    parts = candidates[0].get("content", {}).get("parts", []) if candidates else []
    counted = {"promptTokenCount": _USAGE["promptTokenCount"]}
    for part in parts:
        pieces = [part]
        if "text" in part:
            *first, last = in_pieces(part["text"]) or [part["text"]]
            kept = {"thought": True} if part.get("thought") else {}
            pieces = [{"text": piece} | kept for piece in first] + [part | {"text": last}]
        for piece in pieces:
            candidate = {"index": 0, "content": {"role": "model", "parts": [piece]}}
            yield event(answer | {"candidates": [candidate], "usageMetadata": counted})
    last_candidates = [candidate | {"content": {"role": "model"}} for candidate in candidates]
    yield event(answer | {"candidates": last_candidates})


def _checked_tool(tool: Json) -> tuple[str, Json]:
    only(tool, {"name", "description", "parametersJsonSchema"}, "functionDeclarations")
    require(_NAME.fullmatch(tool["name"]), "Invalid function name")
    schema: Json = tool.get("parametersJsonSchema", {"type": "object"})
    require("$schema" not in schema, "parameters_json_schema: unknown field $schema")
    return tool["name"], schema


def _check_contents(contents: list[Json], *, signed: bool) -> None:
    require(contents, "contents is not specified")
    open_calls: list[Json] = []
    for content in contents:
        only(content, {"role", "parts"}, "content")
        require(content["role"] in ("user", "model"), "Please use a valid role: user, model.")
        require(content["parts"], "contents.parts must not be empty.")
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        _check_answers(open_calls, answers)
        calls = [part for part in content["parts"] if "functionCall" in part]
        require(
            not calls or not signed or "thoughtSignature" in calls[0],
            "Function call is missing a thought_signature in functionCall parts.",
        )
        for part in content["parts"]:
            _check_part(part)
        open_calls = [part["functionCall"] for part in calls]
    require(contents[-1]["role"] == "user", "the last turn must be the user's")


def _check_part(part: Json) -> None:
    known = {"text", "functionCall", "functionResponse", "inlineData", "fileData"}
    only(part, known | {"thought", "thoughtSignature", "novelty"}, "part")
    require(part.get("text", "-").strip(), "text must not be empty")
    require(part.get("thoughtSignature", _SKIP) in (_SKIP, "c2VhbGVk"), "Thought signature is not valid")
    if "functionCall" in part:
        only(part["functionCall"], {"id", "name", "args"}, "functionCall")
        require(_NAME.fullmatch(part["functionCall"]["name"]), "Invalid function name")


def _check_answers(calls: list[Json], answers: list[Json]) -> None:
    require(
        len(calls) == len(answers),
        "the number of function response parts must equal the number of function call parts of the turn before",
    )
    for call, answer in zip(calls, answers, strict=True):
        only(answer, {"id", "name", "response"}, "functionResponse")
        require(isinstance(answer["response"], dict), "response must be an object")
        same = (call.get("id"), call["name"]) == (answer.get("id"), answer["name"])
        require(same, "function response does not match its call")


def _checked_format(settings: Json) -> Json | None:
    only(settings, {"maxOutputTokens", "responseMimeType", "responseJsonSchema"}, "generationConfig")
    schema: Json | None = settings.get("responseJsonSchema")
    if schema is None:
        return None
    require(settings.get("responseMimeType") == "application/json", "responseJsonSchema needs responseMimeType")
    require("$schema" not in schema, "responseJsonSchema: unknown field $schema")
    return schema


def _attachments(contents: list[Json]) -> Iterator[str]:
    for content in contents:
        for part in content["parts"]:
            if "inlineData" in part:
                only(part["inlineData"], {"mimeType", "data"}, "inlineData")
                yield part["inlineData"]["data"]
            if "fileData" in part:
                only(part["fileData"], {"mimeType", "fileUri"}, "fileData")
                yield part["fileData"]["fileUri"]


def _results(contents: list[Json]) -> tuple[str, ...]:
    results: list[str] = []
    for content in contents:
        if content["role"] == "user" and any("text" in part for part in content["parts"]):
            results = []
        for part in content["parts"]:
            results += [str(value) for value in part.get("functionResponse", {}).get("response", {}).values()]
    return tuple(results)


def _render_calls(step: Call) -> list[Json]:
    parts = []
    for index, (name, arguments) in enumerate(step.calls):
        call: Json = {"name": name, "args": arguments}
        if not step.without_ids:
            call["id"] = f"fc_{index}"
        part: Json = {"functionCall": call}
        if step.signed and index == 0:
            # A field no SDK knows yet: it must come back as well.
            part |= {"thoughtSignature": "c2VhbGVk", "novelty": {"kept": True}}
        parts.append(part)
    return parts
