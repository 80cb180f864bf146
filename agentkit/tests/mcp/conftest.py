"""Servers for the tests, and the check that none of them outlives its test."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentkit.mcp import McpConnections, StdioServer

_HOSTILE_SERVER = Path(__file__).parent / "hostile_server.py"


@dataclass
class Hostile:
    """Connections to one misbehaving server, named `bad`."""

    connections: McpConnections
    pid_file: Path

    @property
    def pids(self) -> list[int]:
        """Every process that the server started so far, itself included."""
        return [int(line) for line in self.pid_file.read_text().split()] if self.pid_file.exists() else []

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
        return (await self.connections.call("bad", tool, arguments or {}, **options)).text


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Callable[..., Hostile]]:
    """Makes a misbehaving server; when the test ends, closes it and demands that no process is left."""
    made: list[Hostile] = []

    def make(mode: str = "willing", **options: Any) -> Hostile:
        pid_file = tmp_path / f"pids-{len(made)}"
        server = StdioServer(
            name="bad", command=sys.executable, args=(str(_HOSTILE_SERVER), mode, str(pid_file)), env={"ASKED_FOR": "1"}
        )
        made.append(Hostile(McpConnections({"bad": server}, **options), pid_file))
        return made[-1]

    yield make
    for each in made:
        await each.connections.aclose()
        await until(lambda each=each: not any(is_alive(pid) for pid in each.pids))  # type: ignore[misc]


def is_alive(pid: int) -> bool:
    """Whether the process runs. A dead one that waits for the machine's init to collect it does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait for the condition; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)
