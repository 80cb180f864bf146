"""Tools that a package brings to agents."""

from agentkit import OnUnknown, ToolContext, tool


@tool(side_effect=False)
def stock(article: str) -> int:
    """How many pieces of an article are in the warehouse."""
    return {"widget pro": 12, "widget mini": 0}.get(article.strip().lower(), 0)


@tool(on_unknown=OnUnknown.retry)
async def reserve(article: str, pieces: int, context: ToolContext) -> str:
    """Reserve pieces of an article for a customer."""
    # The warehouse is given the key, so that it can tell a repeat. It is the same for every try of this call.
    return f"reserved {pieces} x {article} (key {context.idempotency_key})"


TOOLS = [stock, reserve]
