"""A small, real MCP server over a company handbook: `python -m agentkit.mcp.demo_server [--http PORT]`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

# Importing the SDK costs most of this server's start: only what it needs is named here.
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

_HANDBOOK = Path(__file__).parent / "handbook"
_MOST_HITS = 5
_READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
#: Words that say nothing about what is looked for.
_FILLERS = set(
    """a about an and are at be by can do does for from have how i in is it me my of on or our tell the there to us
    we what when where which who why will with you your""".split()  # noqa: SIM905 - prose reads better as prose
)


class Hit(BaseModel):
    """A document that matches a search."""

    name: str
    summary: str


def build_server() -> MCPServer:
    """The server with its two tools, `search` and `read`; the handbook is read once, here."""
    documents = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_HANDBOOK.glob("*.md"))}
    server = MCPServer(
        "handbook",
        title="Company handbook",
        version="1.0",
        instructions="Search for a document, then read it by name.",
        log_level="WARNING",
    )

    @server.tool(annotations=_READ_ONLY)
    async def search(query: str) -> list[Hit]:
        """Search the company handbook; returns the name and the summary of each matching document, best first."""
        scores = {name: _score(query, name, text) for name, text in documents.items()}
        best = sorted((name for name in documents if scores[name]), key=lambda name: (-scores[name], name))
        return [Hit(name=name, summary=_summary(documents[name])) for name in best[:_MOST_HITS]]

    @server.tool(annotations=_READ_ONLY)
    async def read(name: str) -> str:
        """Read one document of the company handbook by its name."""
        text = documents.get(name.strip().lower().removesuffix(".md"))
        if text is None:
            raise ToolError(f"there is no document {name[:100]!r}; the documents are: {', '.join(documents)}")
        return text

    return server


def _score(query: str, name: str, text: str) -> int:
    """How many words of the query the document has; a word of its name or title counts more."""
    wanted = _words(query) - _FILLERS
    title = _words(name) | _words(text.partition("\n")[0])
    return sum(3 if word in title else 1 for word in wanted & (title | _words(text)))


def _words(text: str) -> set[str]:
    # Singular and plural are one word here: "refunds" finds "refund".
    return {word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower())}


def _summary(text: str) -> str:
    """The first paragraph below the title."""
    return " ".join(text.partition("\n\n")[2].partition("\n\n")[0].split())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m agentkit.mcp.demo_server", description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP on this port of 127.0.0.1")
    port = parser.parse_args().http
    if port is None:
        build_server().run()
    else:
        build_server().run(transport="streamable-http", host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
