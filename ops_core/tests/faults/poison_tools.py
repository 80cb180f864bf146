"""Tools that do harm to the process they run in, one for each kind. Installed as a plug-in."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from agentkit import tool

#: What the memory hogs take before they give up, on a machine that has it to spare: as when the kernel ends them.
_HOARD_MB = 400


def null_pointer() -> None:
    ctypes.string_at(0)


def corrupted_heap() -> None:
    ctypes.memset(id(None), 0, 16)


def stack_overflow() -> None:
    sys.setrecursionlimit(10**9)

    def deeper() -> None:
        ctypes.CFUNCTYPE(None)(deeper)()

    deeper()


def exit_0() -> None:
    os._exit(0)


def exit_1() -> None:
    os._exit(1)


def exit_in_a_thread() -> None:
    thread = threading.Thread(target=os._exit, args=(2,))
    thread.start()
    thread.join()


def keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sigbus() -> None:
    os.kill(os.getpid(), signal.SIGBUS)


def sigfpe() -> None:
    os.kill(os.getpid(), signal.SIGFPE)


def abort() -> None:
    os.abort()


def group_kill() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def malloc() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    for _ in range(_HOARD_MB // 16):
        ctypes.memset(libc.malloc(16 * 1024 * 1024), 1, 16 * 1024 * 1024)
    sigkill()


def busy_loop() -> None:
    while True:
        pass


def fork_and_die() -> None:
    for _ in range(30):
        subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    null_pointer()


def memory() -> str:
    hoard = [bytearray(16 * 1024 * 1024) for _ in range(_HOARD_MB // 16)]
    sigkill()
    return str(len(hoard))


def no_json() -> Any:
    return object()


def system_exit() -> None:
    raise SystemExit(3)


def huge_output() -> str:
    for _ in range(200):
        os.write(2, b"x" * 99_999 + b"\n")
    return "said"


def endless_recursion() -> None:
    endless_recursion()


#: They end whatever process they run in.
KILLERS = (
    *(null_pointer, corrupted_heap, stack_overflow, exit_0, exit_1, exit_in_a_thread, keyboard_interrupt, sigkill),
    *(sigbus, sigfpe, abort, group_kill, malloc, busy_loop, fork_and_die),
)
#: What is told to the agent, who goes on; the memory hog too, once its memory is bounded.
TOLD = (memory, no_json, system_exit, huge_output, endless_recursion)


def _harmful(harm: Callable[[], Any]) -> Callable[..., Any]:
    async def call(step: str) -> Any:
        # Others have begun by now: what is done is done to them too.
        time.sleep(0.05)  # noqa: ASYNC251  a careless tool
        return harm()

    call.__name__ = f"harm_{harm.__name__}"
    call.__doc__ = f"Do harm: {harm.__name__}."
    return tool(side_effect=False)(call)


TOOLS = [_harmful(harm) for harm in (*KILLERS, *TOLD)]
KINDS = tuple(harm.__name__ for harm in (*KILLERS, *TOLD))


def agent_of(kind: str) -> str:
    """The agent that does this harm."""
    return f"poison-{kind.replace('_', '-')}"
