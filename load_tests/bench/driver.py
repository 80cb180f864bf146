"""Runs in a system's own environment, beside its libraries: describes it, prepares it, submits to it.

`python driver.py <system> describe`, `… prepare` and `… submit` are called by the harness and print JSON lines. Where
the servers are, it says in the environment: BENCH_DATABASE_URL, BENCH_BROKER_URL, BENCH_FOLDER (for files). It imports
nothing but the standard library and the system's file in `systems/`, which defines:

    REQUIREMENTS        what pip installs for it; a literal, since the harness reads it without importing the file; None
                        for the harness's own environment
    KEEPS               what it stores of a task, in a few words
    COUNT_DONE          SQL that counts the tasks whose end is durable; None for one that stores nothing, which must
                        call `driver.executed()` in its task
    IS_DONE             SQL that returns a row when the task `%s` has its durable end; None likewise
    prepare()           makes tables and queues, or `async def prepare()`
    worker_commands()   the processes that run the no-op task, two worker processes together
    client()            a context manager, or an async one, that gives the one function `submit() -> id`, or
                        `async def submit() -> id`; it returns when the system promises to keep the task

and, where it differs from what stands here:

    WORKS = None        the works it can do; None for all that any system can do
    MAKESPAN = None     SQL that says the seconds from the first start to the last end, the warm-up left out; None for
                        from the first `driver.wait()` to when the harness sees the last end
    SQLITE = None       name of the SQLite file in the folder that the two statements are for; None for PostgreSQL
    TASKS_A_SUBMIT = 1  how many tasks one `submit` adds
    server_commands()   processes that the client needs, besides the workers
    one_worker_commands()   one worker process with room for AT_ONCE tasks; for the works `waiting-…`, in which the
                        no-op task must call `driver.wait()`, or await `driver.wait_async()`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import inspect
import json
import mmap
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "")
BROKER_URL = os.environ.get("BENCH_BROKER_URL", "")
FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
#: How long the no-op task waits, as an agent waits for its model: not at all in most works.
WAIT_SECONDS = int(os.environ.get("BENCH_WAIT_MS") or 0) / 1000
#: Tasks at once in each worker process: of ours always, of others where tasks wait.
AT_ONCE = int(os.environ.get("BENCH_CONCURRENCY", "100"))

_START_SECONDS = 60.0
_STARTED = "started"
_COUNTER = struct.Struct("=Q")
_counting = threading.Lock()
_counters: dict[int, mmap.mmap] = {}


def executed() -> None:
    """Count one execution, in a file that the harness reads: for a system that keeps nothing."""
    with _counting:
        counter = _counters.get(os.getpid())
        if counter is None:
            path = FOLDER / f"executed-{os.getpid()}"
            path.write_bytes(bytes(_COUNTER.size))
            with path.open("r+b") as file:
                counter = _counters[os.getpid()] = mmap.mmap(file.fileno(), _COUNTER.size)
        _COUNTER.pack_into(counter, 0, _COUNTER.unpack_from(counter)[0] + 1)


def executions(folder: Path) -> int:
    """How often, in all processes that have this folder."""
    return sum(_COUNTER.unpack(path.read_bytes())[0] for path in folder.glob("executed-*"))


def wait() -> None:
    """For the no-op task: as long as the work wants."""
    if WAIT_SECONDS:
        _note_start()
        time.sleep(WAIT_SECONDS)


async def wait_async() -> None:
    if WAIT_SECONDS:
        _note_start()
        await asyncio.sleep(WAIT_SECONDS)


def first_start(folder: Path) -> float:
    """When (monotonic) the first task began to wait."""
    return float((folder / _STARTED).read_text())


def forget_start(folder: Path) -> None:
    (folder / _STARTED).unlink(missing_ok=True)


def _note_start() -> None:
    with contextlib.suppress(FileExistsError), (FOLDER / _STARTED).open("x") as file:
        file.write(str(time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system")
    parser.add_argument("order", choices=("describe", "prepare", "submit"))
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--warm-up", type=int, default=1, help="tasks to submit before it says that it is ready")
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--rate", type=float, help="a second, each told with its id; without it, as fast as it goes")
    options = parser.parse_args()
    _keep_standard_output()
    sys.path.insert(0, str(Path(__file__).with_name("systems")))
    system = importlib.import_module(options.system)
    if options.order == "prepare":
        prepared = system.prepare()
        if inspect.isawaitable(prepared):
            asyncio.run(_awaited(prepared))
    elif options.order == "describe":
        _say(json.dumps(_described(system)))
    else:
        _submit(system, options)


def _described(system: Any) -> dict[str, Any]:
    return {
        "keeps": system.KEEPS,
        "count_done": system.COUNT_DONE,
        "is_done": system.IS_DONE,
        "works": getattr(system, "WORKS", None),
        "sqlite": getattr(system, "SQLITE", None),
        "makespan": getattr(system, "MAKESPAN", None),
        "tasks_a_submit": getattr(system, "TASKS_A_SUBMIT", 1),
        "servers": system.server_commands() if hasattr(system, "server_commands") else [],
        "workers": system.worker_commands(),
        "one_worker": system.one_worker_commands() if hasattr(system, "one_worker_commands") else [],
    }


def _keep_standard_output() -> None:
    """For what the harness reads: libraries may print."""
    global _say
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _say = lambda line: print(line, file=told)  # noqa: E731


_say: Callable[[str], None] = print


def _submit(system: Any, options: argparse.Namespace) -> None:
    client = system.client()
    per_submit = getattr(system, "TASKS_A_SUBMIT", 1)
    options.tasks, options.warm_up = -(-options.tasks // per_submit), -(-options.warm_up // per_submit)
    if hasattr(client, "__aenter__"):
        asyncio.run(_submit_async(client, options))
    else:
        _submit_in_threads(client, options)


def _submit_in_threads(client: Any, options: argparse.Namespace) -> None:
    with client as submit:
        _retried(submit)
        for _ in range(options.warm_up - 1):
            submit()
        _wait_for_go()
        if options.rate:
            for number in range(options.tasks):
                _sleep_until(number, options.rate)
                _tell(submit)
            sys.stdin.readline()
            return
        left = iter(range(options.tasks))
        turn = threading.Lock()

        def work() -> None:
            while True:
                with turn:
                    if next(left, None) is None:
                        return
                submit()

        started = time.monotonic()
        if options.in_flight == 1:
            for _ in left:
                submit()
        else:
            with ThreadPoolExecutor(options.in_flight) as pool:
                for done in [pool.submit(work) for _ in range(options.in_flight)]:
                    done.result()
        _report(started)
        sys.stdin.readline()


async def _submit_async(client: Any, options: argparse.Namespace) -> None:
    async with client as submit:
        await _retried_async(submit)
        for _ in range(options.warm_up - 1):
            await submit()
        await asyncio.to_thread(_wait_for_go)
        if options.rate:
            for number in range(options.tasks):
                await asyncio.sleep(max(0, _due(number, options.rate) - time.monotonic()))
                at = time.monotonic()
                _say(json.dumps({"id": str(await submit()), "at": at}))
            await asyncio.to_thread(sys.stdin.readline)
            return
        left = iter(range(options.tasks))

        async def work() -> None:
            for _ in left:
                await submit()

        started = time.monotonic()
        await asyncio.gather(*(work() for _ in range(options.in_flight)))
        _report(started)
        # Who runs the tasks in its own process must live until they are done.
        await asyncio.to_thread(sys.stdin.readline)


def _retried(submit: Callable[[], object]) -> None:
    """The first submit: whoever it goes to may still be starting."""
    ends_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            submit()
        except Exception:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.2)
        else:
            return


async def _retried_async(submit: Callable[[], Any]) -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            await submit()
        except Exception:
            if time.monotonic() > ends_at:
                raise
            await asyncio.sleep(0.2)
        else:
            return


_began: list[float] = []


def _wait_for_go() -> None:
    """Until the harness has read its counters."""
    _say(json.dumps({"ready": True}))
    sys.stdin.readline()
    _began.append(time.monotonic())


def _due(number: int, rate: float) -> float:
    return _began[0] + number / rate


def _sleep_until(number: int, rate: float) -> None:
    time.sleep(max(0, _due(number, rate) - time.monotonic()))


def _tell(submit: Callable[[], object]) -> None:
    at = time.monotonic()
    _say(json.dumps({"id": str(submit()), "at": at}))


def _report(started: float) -> None:
    _say(json.dumps({"started": started, "submitted": time.monotonic()}))


async def _awaited(prepared: Any) -> None:
    await prepared


if __name__ == "__main__":
    # Systems import this module by its name.
    sys.modules["driver"] = sys.modules["__main__"]
    main()
