"""An MCP server whose tool has an effect that can be counted: one line in a file for each call it was given.

Run as `python -m ops_core.tests.journeys.effect_server --port 8091 --file effects.jsonl`. One server serves all workers
over HTTP, and outlives each of them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations


def make_server(file: Path) -> MCPServer:
    server = MCPServer("effects", version="1.0")

    # Idempotent by its key, as the journal may send a call again whose answer it never saw.
    @server.tool(annotations=ToolAnnotations(readOnlyHint=False, idempotentHint=True))
    async def charge(step: str, ctx: Context) -> str:
        """Charge a customer for a step."""
        meta = dict(ctx.request_context.meta or {})
        line = json.dumps({"step": step, "key": meta.get("agentkit/idempotency-key")})
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)
        return f"charged for {step}"

    return server


def effects_in(file: Path) -> list[dict[str, str]]:
    """The calls so far, in order."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    given = parser.parse_args()
    make_server(given.file).run(transport="streamable-http", host="127.0.0.1", port=given.port, stateless_http=True)
