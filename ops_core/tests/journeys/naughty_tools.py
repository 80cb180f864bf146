"""Tools as a careless plug-in would offer them. The journeys install it by an entry point."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkit import tool

#: Where a call is noted, one line each.
CALLS_FILE = "NAUGHTY_TOOLS_CALLS"


@tool(side_effect=False)
def explode() -> str:
    """Raise."""
    raise ZeroDivisionError("the tool fell over")


@tool(side_effect=False)
def leave() -> str:
    """Try to end the process."""
    raise SystemExit("bye")


@tool(side_effect=False)
def segfault() -> str:
    """Take the whole process along."""
    return str(ctypes.string_at(0))


@tool(side_effect=False)
def unserialisable() -> Any:
    """Return something that is no JSON."""
    return object()


@tool(side_effect=False)
def ten_megabytes() -> str:
    """Return far too much."""
    return "x" * 10_000_000


@tool(side_effect=True)
def note(what: str) -> str:
    """Have an effect that can be counted."""
    with Path(os.environ[CALLS_FILE]).open("a") as file:
        file.write(f"{what}\n")
    return f"noted {what}"


@tool(side_effect=False)
def stand_still_once() -> str:
    """Stop the whole process, and say where one that had not been stopped before went on."""
    file = Path(os.environ[CALLS_FILE])
    if not calls_in(file):
        file.write_text(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGSTOP)
    return str(os.getpid())


@tool(side_effect=False)
def send_sigterm() -> str:
    """Tell the process to end, as whoever deploys would."""
    os.kill(os.getpid(), signal.SIGTERM)
    # So that it is heard while this runs.
    time.sleep(0.5)
    return str(os.getpid())


TOOLS = [explode, leave, segfault, unserialisable, ten_megabytes, note, stand_still_once, send_sigterm]


def install(folder: Path) -> None:
    """What an installer would leave behind in a folder of PYTHONPATH."""
    info = folder / "naughty_tools-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: naughty-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[agentkit.tools]\nnaughty = {__name__}:TOOLS\n")


def calls_in(file: Path) -> Sequence[str]:
    """What was noted, in order."""
    return file.read_text().splitlines() if file.exists() else []
