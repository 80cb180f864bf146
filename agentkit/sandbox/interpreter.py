"""One interpreter inside a sandbox, from its start to its end. It does one job."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import time
from typing import Any

from agentkit.errors import ConfigurationError
from agentkit.sandbox.base import Ending, SandboxLimits, SandboxResult
from agentkit.sandbox.mechanism import READY_SECONDS, Launch
from agentkit.sandbox.outlet import Outlet
from agentkit.sandbox.work_folder import WorkFolder
from agentkit.transcript import JsonObject

logger = logging.getLogger(__name__)

_HEAD_BYTES = 4
#: For an answer's own words, its names and quotes, beside what it may hold.
_ANSWER_MARGIN_BYTES = 4_096
#: How often a work folder on disk is measured.
_MEASURE_SECONDS = 0.02
#: How long one that closed its pipe may take to end by itself.
_LAST_SECONDS = 0.5
#: How long a killed process may take to be gone.
_GONE_SECONDS = 10.0


class InterpreterRefused(Exception):
    """It did not get to where it could take a job; the message says why."""


class Interpreter:
    """Start it, wait until it `is_ready`, give it one job, end it.

    Who holds one must call `end`, however it went.
    """

    def __init__(self, launch: Launch, limits: SandboxLimits) -> None:
        """Starts the process, from this thread: it is killed when the thread ends.

        Raises:
            ConfigurationError: it cannot be started.
        """
        self._limits = limits
        self._changed = asyncio.Event()
        self._folder = (
            WorkFolder(launch.folder, most_bytes=limits.files_bytes, most_files=limits.files) if launch.folder else None
        )
        try:
            self._start(launch)
        except OSError as error:
            if self._folder is not None:
                self._folder.remove()
            raise ConfigurationError(f"{launch.command[0]} cannot be started: {error}") from error

    def _start(self, launch: Launch) -> None:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            ends: list[tuple[int, int]] = []
            for is_inward in (True, False, False, False):
                reading, writing = os.pipe()
                kept, given = (writing, reading) if is_inward else (reading, writing)
                ours.callback(os.close, kept)
                theirs.callback(os.close, given)
                ends.append((kept, given))
            (self._orders, orders), (out, out_end), (err, err_end), (answers, answers_end) = ends
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter
                [*launch.command, str(answers_end)],
                stdin=orders,
                stdout=out_end,
                stderr=err_end,
                pass_fds=(answers_end,),
                env=launch.environment,
                cwd="/",
                start_new_session=True,
            )
            ours.pop_all()
        told = self._changed.set
        self._stdout = Outlet(out, limit=self._limits.output_bytes, on_change=told)
        self._stderr = Outlet(err, limit=self._limits.output_bytes, on_change=told)
        self._answers = Outlet(answers, limit=self._limits.output_bytes + _ANSWER_MARGIN_BYTES, on_change=told)
        os.set_blocking(self._orders, False)
        self._unsent = bytearray()
        self._send(launch.orders)

    @property
    def pid(self) -> int:
        """Of the process that we started, which is the outermost one."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can still take a job."""
        # Looked at without reaping, so that its group can still be killed under its number.
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return not self._answers.ended and ended is None

    async def is_ready(self) -> None:
        """Returns when it is confined, has imported what it was to import, and waits for its job.

        Raises:
            InterpreterRefused: it will not come to that.
            ConfigurationError: a module that it was to import cannot be imported inside.
        """
        said = await self._first_said()
        match said:
            case {"ready": True}:
                return
            case {"refused": str() as why}:
                raise InterpreterRefused(why)
            case {"unprepared": str() as why}:
                raise ConfigurationError(f"a module cannot be imported in the sandbox: {why}")
            case None:
                raise InterpreterRefused(f"it was not ready within {READY_SECONDS:g} s")
            case _:
                self.kill()
                await self._exited()
                self._stderr.drain()
                last = _text(self._stderr.kept).strip().splitlines()[-3:]
                raise InterpreterRefused(f"it ended before it was ready ({self._exit()}): {' | '.join(last)}")

    async def _first_said(self) -> object:
        """None when it takes too long, something that is no message when it ends instead."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not self._has_said() and not self._is_over():
                    await self._change()
        except TimeoutError:
            return None
        if self._has_said():
            return self._said()
        await self._exited_within(_LAST_SECONDS)
        return "nothing"

    async def do(self, job: JsonObject) -> SandboxResult:
        """What comes of the job. The process is killed as soon as that is known."""
        started = time.monotonic()
        self._send(job)
        try:
            async with asyncio.timeout(self._limits.seconds):
                ending = await self._come_to_an_end()
                if ending is None and not self._has_said():
                    # Killed at once, it could not tell any more how it ended.
                    await self._exited_within(_LAST_SECONDS)
        except TimeoutError:
            ending = Ending.timed_out
        finally:
            self.kill()
        said = self._said() if ending is None else None
        if ending is None and said is None:
            await self._exited()
        self._stdout.drain()
        self._stderr.drain()
        return self._result(ending, said, time.monotonic() - started)

    def kill(self) -> None:
        """Harmless when called twice.

        Bubblewrap is left to end by itself, when it has buried what ran inside: killed, it would leave its children to
        the first process of the machine, which in a container is often one that buries nobody.
        """
        if self._process.returncode is not None:
            return
        children = _children(self.pid)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if not children:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill it, wait until all of it is gone, and give back what it held. Harmless when called twice."""
        self.kill()
        # Whatever is left all the same waits for orders, and learns that none will come.
        self._stop_sending()
        await self._exited()
        try:
            async with asyncio.timeout(_GONE_SECONDS):
                # The pipe has no writer left only when everything inside has ended.
                self._answers.keep_no_more()
                while not self._answers.ended:
                    await self._change()
        except TimeoutError:
            logger.warning("a sandboxed process is not gone %s s after it was killed", _GONE_SECONDS)
        self._close()

    def _close(self) -> None:
        for outlet in (self._stdout, self._stderr, self._answers):
            outlet.close()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    # ------------------------------------------------------------------------------------------------ what goes in

    def _send(self, message: JsonObject) -> None:
        body = json.dumps(message).encode()
        self._unsent += len(body).to_bytes(_HEAD_BYTES, "big") + body
        self._send_some()

    def _send_some(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                del self._unsent[: os.write(self._orders, self._unsent)]
        except BlockingIOError:
            loop.add_writer(self._orders, self._send_some)
            return
        except BrokenPipeError:
            # It has gone, and its end says more than we could.
            self._unsent.clear()
        loop.remove_writer(self._orders)

    def _stop_sending(self) -> None:
        if self._orders >= 0:
            asyncio.get_running_loop().remove_writer(self._orders)
            os.close(self._orders)
            self._orders = -1

    # ----------------------------------------------------------------------------------------------- what comes out

    async def _change(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    async def _come_to_an_end(self) -> Ending | None:
        """Why it must end now; None when it answered or ended by itself."""
        while True:
            if self._answers.overflowed or self._printed_too_much():
                return Ending.too_much_output
            if self._has_said() or self._is_over():
                return None
            if self._folder is None:
                await self._change()
                continue
            if self._folder.is_too_full(self.pid):
                return Ending.too_many_files
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MEASURE_SECONDS):
                    await self._change()

    def _printed_too_much(self) -> bool:
        printed = len(self._stdout.kept) + len(self._stderr.kept)
        return printed > self._limits.output_bytes or self._stdout.overflowed or self._stderr.overflowed

    def _is_over(self) -> bool:
        return self._answers.ended or self._answers.overflowed

    def _has_said(self) -> bool:
        kept = self._answers.kept
        return len(kept) >= _HEAD_BYTES and len(kept) >= _HEAD_BYTES + int.from_bytes(kept[:_HEAD_BYTES], "big")

    def _said(self) -> object:
        """The next whole message; None when there is none, or none that can be read."""
        if not self._has_said():
            return None
        end = _HEAD_BYTES + int.from_bytes(self._answers.kept[:_HEAD_BYTES], "big")
        body = bytes(self._answers.kept[_HEAD_BYTES:end])
        del self._answers.kept[:end]
        try:
            return json.loads(body, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return "what cannot be read"

    def _result(self, ending: Ending | None, said: object, seconds: float) -> SandboxResult:
        value: Any = None
        error = _why(ending, self._limits)
        match said:
            case _ if ending is not None:
                pass
            case {"value": value} if _is_text_throughout(value):
                ending = Ending.finished
            case {"error": str() as error, "out_of_memory": bool() as starved}:
                ending = Ending.out_of_memory if starved else Ending.raised
            case None:
                ending, error = self._how_it_ended()
            case _:
                value, ending, error = None, Ending.died, "its answer cannot be read"
        # What was printed on the way to a limit is of use, and no more of it than the limit.
        room = self._limits.output_bytes
        out = _text(self._stdout.kept[:room])
        err = _text(self._stderr.kept[: max(room - len(self._stdout.kept), 0)])
        return SandboxResult(ending, out, err, value, _sound(error), seconds)

    # --------------------------------------------------------------------------------------------------- how it ends

    async def _exited(self) -> None:
        """Returns when the process has ended, of itself or because it took too long, and is reaped."""
        if self._process.returncode is not None:
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        watched = os.pidfd_open(self.pid)
        loop.add_reader(watched, gone.set)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await gone.wait()
            # Its number is its own until it is reaped, and so is that of its group.
            self._kill_group()
            await gone.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)
        self._process.wait()

    async def _exited_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._exited()

    def _how_it_ended(self) -> tuple[Ending, str]:
        if self._signal() == signal.SIGXCPU:
            return Ending.timed_out, _why(Ending.timed_out, self._limits)
        return Ending.died, f"it ended before it gave an answer ({self._exit()})"

    def _exit(self) -> str:
        number = self._signal()
        return f"exit code {self._process.returncode}" if number is None else f"signal {number}"

    def _signal(self) -> int | None:
        # Seen through bubblewrap, a signal is an exit code over 128.
        code: int = self._process.returncode
        return -code if code < 0 else code - 128 if code > 128 else None


def _children(pid: int) -> list[int]:
    """None where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as told:
            return [int(each) for each in told.read().split()]
    except OSError:
        return []


def _why(ending: Ending | None, limits: SandboxLimits) -> str:
    match ending:
        case Ending.timed_out:
            return f"it did not finish within {limits.seconds:g} s"
        case Ending.too_much_output:
            return f"it printed or answered more than {limits.output_bytes} bytes"
        case Ending.too_many_files:
            return f"its files were more than {limits.files} or larger than {limits.files_bytes} bytes together"
        case _:
            return ""


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_text_throughout(value: object) -> bool:
    """Whether no half of a character hides in it, which JSON can hold and nothing that is encoded later."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _text(printed: bytes | bytearray) -> str:
    return printed.decode("utf-8", "replace")


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
