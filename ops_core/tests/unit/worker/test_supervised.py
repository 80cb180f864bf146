"""The order to stop: it is told from a signal that somebody else sends."""

from __future__ import annotations

import subprocess
import sys

CHILD = r"""
import os, signal, sys, threading
from ops_core.worker.supervised import StopOrder
order, told = StopOrder(), threading.Event()

def on_signal(*_):
    # Not print: the second signal may come while the first is being printed.
    os.write(1, b"told\n" if order.has_come() else b"ignored\n")
    if order.has_come():
        told.set()

signal.signal(signal.SIGTERM, on_signal)
order.listen(end_after_seconds=float(sys.argv[1]))
os.kill(os.getpid(), signal.SIGTERM)
while not told.wait(0.05) or sys.argv[2] == "deaf":
    pass
"""


def child(end_after_seconds: float, manner: str) -> subprocess.Popen[str]:
    """Has printed one line: what it made of a SIGTERM of its own."""
    command = [sys.executable, "-c", CHILD, str(end_after_seconds), manner]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_signal_of_a_tool_is_no_order_and_the_end_of_the_input_is_one() -> None:
    with child(30, "obedient") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ignored\n"
        process.stdin.close()
        assert process.stdout.readline() == "told\n"
        assert process.wait(20) == 0


def test_a_process_that_does_not_take_the_order_ends_all_the_same() -> None:
    with child(0, "deaf") as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 1
