"""A worker with canaries, run as a program: takes a probe a line, runs it, and tells which canaries it reached."""

from __future__ import annotations

import asyncio
import contextlib
import json
import string
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from agentkit.sandbox.base import Sandbox, SandboxLimits
from agentkit.sandbox.bubblewrap import Bubblewrap
from agentkit.sandbox.landlock import Landlock
from agentkit.sandbox.mechanism import Mechanism
from agentkit.sandbox.select import open_sandbox
from agentkit.tests.sandbox.canaries import Canaries

MECHANISMS: dict[str, Mechanism] = {
    "bubblewrap": Bubblewrap(),
    "landlock": Landlock(),
    # What a kernel of 2021 has.
    "landlock-1": Landlock(newest_version=1),
}
#: Passes of the loop in which everything that has already happened to a socket is noticed.
_PASSES = 10


async def main(mechanism: str, token: str, seconds: str) -> None:
    limits = SandboxLimits(seconds=float(seconds), memory_bytes=256 * 1024**2, files_bytes=8 * 1024**2)
    canaries = Canaries(token)
    await canaries.open()
    try:
        async with contextlib.AsyncExitStack() as stack:
            sandbox: Sandbox | None = None
            if mechanism != "none":
                sandbox = await stack.enter_async_context(
                    open_sandbox(limits, mechanisms=[MECHANISMS[mechanism]], modules=["seen_by_the_sandbox"])
                )
            print(json.dumps({"ready": True}), flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await probed(json.loads(line), canaries, sandbox)), flush=True)
    finally:
        canaries.close()


async def probed(code: str, canaries: Canaries, sandbox: Sandbox | None) -> dict[str, Any]:
    canaries.restore()
    source = string.Template(code).substitute(canaries.places())
    if sandbox is None:
        told: dict[str, Any] = {"output": await asyncio.to_thread(unconfined, source)}
    else:
        result = await sandbox.run(source)
        told = {"output": f"{result.stdout}{result.stderr}{result.value}{result.error}"} | asdict(result)
    for _ in range(_PASSES):
        await asyncio.sleep(0)
    return told | {"reached": canaries.look(told["output"])}


def unconfined(source: str) -> str:
    """As a tool would run it that thinks a process of its own is enough."""
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, close_fds=False, start_new_session=True)
    return done.stdout + done.stderr


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Exception as error:  # noqa: BLE001  whatever it is, the test says it
        print(json.dumps({"ready": False, "why": f"{type(error).__name__}: {error}"}), flush=True)
