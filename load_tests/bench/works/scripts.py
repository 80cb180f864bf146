"""Waking, live text and cancels of ours: each runs a script of `load_tests/`, which starts a system of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from processes import Failed
from trial import PATIENCE_SECONDS, Bench, Figure

_SCRIPTS = Path(__file__).parents[2]
#: All agents have to wait before the shortest timer ends, which takes the longer the more there are.
_TIMER_SECONDS_A_TASK = 0.06
_SHORTEST_TIMER_SECONDS = 5.0


def wake(bench: Bench) -> list[Figure]:
    """Milliseconds from an answer, 20 a second, or the end of a timer, until the task runs again."""
    timer_seconds = max(_SHORTEST_TIMER_SECONDS, _TIMER_SECONDS_A_TASK * bench.tasks)
    return _figures(bench, "wake_up.py", "--rate", "20", "--timer-seconds", f"{timer_seconds:g}")


def stream(bench: Bench) -> list[Figure]:
    """Milliseconds that a piece of text takes longer than from the model itself, with so many readers at once."""
    # More words a second would keep the script busy with itself: it is the model and all of the readers.
    return _figures(bench, "stream_latency.py", "--pieces", "12", "--interval-ms", "2500")


def cancel(bench: Bench) -> list[Figure]:
    """Milliseconds from a cancel, 20 a second, to the end of the agent's model call."""
    return _figures(bench, "cancel_latency.py", "--rate", "20")


def _figures(bench: Bench, script: str, *options: str) -> list[Figure]:
    """Raises:
    Failed: it ended with an error, or not in time.
    """
    servers = ("--database-url", bench.database_url, "--broker-url", bench.broker_url)
    command = [bench.python, str(_SCRIPTS / script), "--json", "--tasks", str(bench.tasks), *servers, *options]
    process = bench.processes.start(Path(script).stem, command, talks=True)
    try:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"{script} was not done after {PATIENCE_SECONDS:g} s") from None
    bench.processes.check()
    return [Figure(**figure) for figure in json.loads(said.splitlines()[-1])]
