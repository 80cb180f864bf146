"""An MCP server whose tool refunds: it writes each refund once, however often it is asked with the same key."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

#: One line of JSON for each refund.
BOOK = Path(os.environ.get("REFUNDS_FILE", "refunds.jsonl"))

server = MCPServer("till", version="1.0", log_level="WARNING")


# Idempotent by the key that comes with each call: the caller may ask again when it never saw the answer.
@server.tool(annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=True))
def refund(amount: float, currency: str, customer: str, ctx: Context) -> str:
    """Refund a customer an amount of money."""
    key = dict(ctx.request_context.meta or {}).get("agentkit/idempotency-key")
    entry = {"key": key, "amount": amount, "currency": currency, "customer": customer}
    with BOOK.open("a+", encoding="utf-8") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        book.seek(0)
        made = [json.loads(line) for line in book]
        if key is None or all(each["key"] != key for each in made):
            book.write(json.dumps(entry) + "\n")
            book.flush()
            os.fsync(book.fileno())
    return f"{amount:g} {currency} refunded to {customer}."


if __name__ == "__main__":
    server.run()
