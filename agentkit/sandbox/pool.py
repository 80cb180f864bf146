"""A sandbox whose interpreters are started before they are needed. Each does one job and is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from agentkit.errors import ConfigurationError
from agentkit.sandbox.base import SandboxLimits, SandboxResult
from agentkit.sandbox.interpreter import Interpreter, InterpreterRefused
from agentkit.sandbox.mechanism import Mechanism, Setting
from agentkit.transcript import JsonObject

logger = logging.getLogger(__name__)

#: Interpreters that may fail to start for one job, beyond those that wait: a machine out of memory kills them all.
_TRIES = 3


class SandboxPool:
    """A `Sandbox` by one mechanism. Nothing is started before the first job, or before `start`."""

    def __init__(self, mechanism: Mechanism, setting: Setting, *, waiting: int = 2, at_once: int = 8) -> None:
        """
        Args:
            waiting: Interpreters that wait for a job; each holds its memory, about 15 MiB without other modules.
            at_once: Jobs at the same time; one more waits its turn.
        """
        self._mechanism = mechanism
        self._setting = setting
        self._waiting_count = waiting
        self._waiting: deque[asyncio.Task[Interpreter]] = deque()
        self._places = asyncio.Semaphore(at_once)
        #: Being ended, in the background: the caller has what it wanted.
        self._ends: set[asyncio.Task[None]] = set()
        self._jobs: set[asyncio.Task[SandboxResult]] = set()
        self._is_closed = False

    @property
    def mechanism(self) -> str:
        """Its name."""
        return self._mechanism.name

    @property
    def limits(self) -> SandboxLimits:
        return self._setting.limits

    @property
    def modules(self) -> tuple[str, ...]:
        return self._setting.modules

    async def start(self) -> None:
        """Returns when an interpreter waits for a job.

        Raises:
            ConfigurationError: none can be had; the message says why.
        """
        interpreter = await self._take()
        self._waiting.appendleft(asyncio.create_task(_already(interpreter)))

    async def run(self, code: str) -> SandboxResult:
        # Of what may be answered, a character of a value can take six bytes (`\u2026`).
        return await self._do({"code": code, "value_length": self.limits.output_bytes // 6})

    async def call(self, function: str, arguments: JsonObject) -> SandboxResult:
        return await self._do({"function": function, "arguments": arguments})

    async def aclose(self) -> None:
        """End all of it; jobs that run are killed. Harmless when called twice."""
        self._is_closed = True
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        while self._waiting:
            self._end_soon(self._waiting.popleft())
        # One that was being started adds its own end while we wait.
        while self._ends:
            await asyncio.gather(*self._ends, return_exceptions=True)

    async def _do(self, job: JsonObject) -> SandboxResult:
        """A task of its own, so that closing can end it."""
        task = asyncio.create_task(self._do_in_place(job))
        self._jobs.add(task)
        task.add_done_callback(self._forget)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            if self._is_closed and not _is_cancelled():
                raise ConfigurationError("the sandbox was closed while the job ran") from None
            raise

    def _forget(self, job: asyncio.Task[SandboxResult]) -> None:
        self._jobs.discard(job)
        if not job.cancelled():
            # Its caller may have been cancelled, and nobody else would ask.
            job.exception()

    async def _do_in_place(self, job: JsonObject) -> SandboxResult:
        async with self._places:
            interpreter = await self._take()
            try:
                return await interpreter.do(job)
            finally:
                self._end_soon(interpreter)

    async def _take(self) -> Interpreter:
        """One that is ready, and one more is started in its place."""
        trouble = "it ends before it is given a job"
        for _ in range(self._waiting_count + _TRIES):
            starting = self._first()
            try:
                interpreter = await asyncio.shield(starting)
            except InterpreterRefused as error:
                trouble = str(error)
                continue
            except asyncio.CancelledError:
                # It was not this one's fault: the next job can have it.
                self._waiting.appendleft(starting)
                raise
            if interpreter.is_alive:
                return interpreter
            self._end_soon(interpreter)
        raise ConfigurationError(f"no interpreter gets ready: {trouble}")

    def _first(self) -> asyncio.Task[Interpreter]:
        if self._is_closed:
            raise ConfigurationError("the sandbox is closed")
        while len(self._waiting) < self._waiting_count + 1:
            self._waiting.append(asyncio.create_task(self._started()))
        return self._waiting.popleft()

    async def _started(self) -> Interpreter:
        interpreter = Interpreter(self._mechanism.launch(self._setting), self.limits)
        try:
            await interpreter.is_ready()
        except BaseException:
            self._end_soon(interpreter)
            raise
        return interpreter

    def _end_soon(self, what: Interpreter | asyncio.Task[Interpreter]) -> None:
        end = asyncio.create_task(_ended(what))
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)


async def _already(interpreter: Interpreter) -> Interpreter:
    return interpreter


async def _ended(what: Interpreter | asyncio.Task[Interpreter]) -> None:
    if isinstance(what, asyncio.Task):
        what.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConfigurationError, InterpreterRefused):
            await (await what).end()
        return
    try:
        await what.end()
    except OSError as error:
        logger.warning("what a sandboxed process left cannot be removed: %s", error)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
