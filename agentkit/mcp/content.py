"""The content of an MCP tool's result as text for a model: text joined, everything else named, never dumped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock

#: Longer results are cut: a model could not read them, and a journal should not keep them.
MAX_RESULT_CHARACTERS = 100_000


def render_result(result: CallToolResult) -> str:
    """The parts in order, one below the other; the structured content as JSON when there are none."""
    text = "\n".join(_render_part(part) for part in result.content)
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    return _cut(text)


def _render_part(part: ContentBlock) -> str:
    match part.type:
        case "text":
            return part.text
        case "image" | "audio":
            return f"[{part.type}, {part.mime_type}, {len(part.data) * 3 // 4} bytes, not shown]"
        case "resource_link":
            return f"[resource {part.name}: {part.uri}]"
        case "resource":
            text = getattr(part.resource, "text", None)
            kind = part.resource.mime_type or "unknown type"
            return text if isinstance(text, str) else f"[resource {part.resource.uri}, {kind}, not shown]"


def _cut(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    return f"{text[:MAX_RESULT_CHARACTERS]}\n[cut: the result has {len(text)} characters]"
