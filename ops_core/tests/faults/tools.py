"""Tools with an effect outside, one for each way to resolve an unknown outcome. Installed as a plug-in."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from agentkit import tool
from agentkit.tools.base import OnUnknown, ToolContext
from ops_core.tests.faults import poison_tools

SINK_URL = "FAULTS_SINK_URL"
#: What this process is called.
PROCESS_NAME = "FAULTS_PROCESS_NAME"


@tool(side_effect=True, on_unknown=OnUnknown.retry)
async def charge_retry(step: str, context: ToolContext) -> str:
    """Charge a customer for a step; the bank knows idempotency keys."""
    return await _charge("retry", context)


@tool(side_effect=True, on_unknown=OnUnknown.ask)
async def charge_ask(step: str, context: ToolContext) -> str:
    """Charge a customer for a step; a person looks when nobody knows whether it was done."""
    return await _charge("ask", context)


@tool(side_effect=True, on_unknown=OnUnknown.fail)
async def charge_fail(step: str, context: ToolContext) -> str:
    """Charge a customer for a step; never again when nobody knows whether it was done."""
    return await _charge("fail", context)


TOOLS = [charge_retry, charge_ask, charge_fail]


async def _charge(kind: str, context: ToolContext) -> str:
    where = urlsplit(os.environ[SINK_URL])
    asked = {"key": context.idempotency_key, "tool": kind, "by": os.environ[PROCESS_NAME]}
    body = json.dumps(asked).encode()
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        head = f"POST /effects HTTP/1.1\r\nhost: sink\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    if b" 200 " not in answer.split(b"\r\n")[0]:
        raise RuntimeError("the sink refused")
    return "charged"


def install(folder: Path) -> None:
    """What an installer would leave behind in a folder of PYTHONPATH."""
    info = folder / "fault_tools-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fault-tools\nVersion: 1.0\n")
    plugins = {"faults": __name__, "poison": poison_tools.__name__}
    lines = "".join(f"{name} = {module}:TOOLS\n" for name, module in plugins.items())
    (info / "entry_points.txt").write_text(f"[agentkit.tools]\n{lines}")
