"""The stdio transport: a server as a child process that is always ended, one JSON-RPC message a line.

The SDK has one too. This one bounds what a server may print, keeps stderr off our terminal, says how a server
ended, and kills the child's whole process group even when its own shutdown is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from agentkit.mcp.config import StdioServer

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

logger = logging.getLogger(__name__)

#: Longest message a server may send; a longer line ends the connection.
_MAX_LINE_BYTES = 32 * 1024 * 1024
#: Messages that may wait for a server that does not read its stdin.
_MAX_UNSENT_MESSAGES = 256
#: How long a server may take to end by itself after its stdin closed, then after SIGTERM, then after SIGKILL.
_GRACE_SECONDS = 2.0
_POLL_SECONDS = 0.01
#: How long we wait, once a server has fallen silent, to learn how it ended and what it last said.
_LAST_WORDS_SECONDS = 0.5
#: How much of stderr, and of stdout that is no message, is logged per connection.
_MAX_LOGGED_LINES = 200
_MAX_LOGGED_CHARACTERS = 500


class ServerNotStarted(Exception):
    """The child process of a server could not be started."""


class StdioTransport:
    """Starts the server on entering and ends it, with all its descendants, on leaving."""

    def __init__(self, server: StdioServer, *, on_end: Callable[[str], None]) -> None:
        self._server = server
        #: Told once how the server ended, before the calls it still owes fail.
        self._on_end = on_end
        self._tasks: list[asyncio.Task[None]] = []
        self._last_words: deque[str] = deque(maxlen=3)
        self._is_leaving = False
        self._logged = 0
        self._stray_lines = 0

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def stray_lines(self) -> int:
        """Lines on stdout that were no MCP message."""
        return self._stray_lines

    async def __aenter__(
        self,
    ) -> tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]:
        import anyio
        from mcp.client.stdio import get_default_environment

        # Only the few harmless variables of the SDK's list: a worker's own secrets are not the server's business.
        self._process = await _start(self._server, get_default_environment() | dict(self._server.env))
        self._incoming, received = anyio.create_memory_object_stream["SessionMessage | Exception"](0)
        sending, self._outgoing = anyio.create_memory_object_stream["SessionMessage"](_MAX_UNSENT_MESSAGES)
        self._streams = (self._incoming, received, sending, self._outgoing)
        errors = asyncio.create_task(self._read_errors())
        self._tasks = [errors, asyncio.create_task(self._read(errors)), asyncio.create_task(self._write())]
        return received, sending

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_leaving = True
        for stream in self._streams:
            stream.close()
        try:
            await self._ask_to_end()
        finally:
            # No await stands before this: a second cancellation must not leave a child behind.
            self._signal_group("SIGKILL")
            for task in self._tasks:
                task.cancel()
        await self._exited_within(_GRACE_SECONDS)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Nothing public closes the pipes while a descendant that left the group still holds them.
        self._process._transport.close()  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    async def _ask_to_end(self) -> None:
        """What the protocol wants: close stdin, wait, SIGTERM, wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not await self._exited_within(_GRACE_SECONDS):
            self._signal_group("SIGTERM")
            await self._exited_within(_GRACE_SECONDS)

    async def _exited_within(self, seconds: float) -> bool:
        # Not process.wait(): it also waits until every descendant has let go of the pipes.
        deadline = asyncio.get_running_loop().time() + seconds
        while self._process.returncode is None:
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def _signal_group(self, name: str) -> None:
        """The child leads a process group of its own, so that what it started ends with it (`npx`, `uvx`)."""
        try:
            if os.name == "posix":
                os.killpg(self._process.pid, signal.Signals[name])
            elif self._process.returncode is None:
                self._process.kill()
        except ProcessLookupError:
            return
        except PermissionError as error:
            logger.warning("mcp server %s: cannot end its process group: %s", self._server.name, error)

    async def _read(self, errors: asyncio.Task[None]) -> None:
        import anyio
        from mcp.shared.message import SessionMessage
        from mcp.types import jsonrpc_message_adapter

        assert self._process.stdout is not None
        reason = None
        try:
            while line := await self._process.stdout.readline():
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    self._note_stray_line(line)
                    continue
                await self._incoming.send(SessionMessage(message))
        except ValueError:
            reason = f"sent a message longer than {_MAX_LINE_BYTES} bytes"
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            # We are the ones who are leaving. A server that cannot get rid of its output could not end.
            while await self._process.stdout.read(65536):
                pass
            return
        except OSError as error:
            reason = f"could not be read: {error}"
        if reason is None:
            await asyncio.wait([errors], timeout=_LAST_WORDS_SECONDS)
            reason = await self._how_it_ended()
        if not self._is_leaving:  # else it ended because we asked it to
            self._on_end(reason)
        self._incoming.close()

    async def _how_it_ended(self) -> str:
        await self._exited_within(_LAST_WORDS_SECONDS)
        match self._process.returncode:
            case None:
                ending = "closed its output"
            case code if code < 0:
                ending = f"was killed by signal {-code}"
            case code:
                ending = f"ended with exit code {code}"
        return f"{ending}; its last words: {' | '.join(self._last_words)}" if self._last_words else ending

    async def _write(self) -> None:
        assert self._process.stdin is not None
        try:
            async for message in self._outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                self._process.stdin.write(text.encode() + b"\n")
                await self._process.stdin.drain()
        except OSError:
            # Mostly it has died, and the reader says how. If it lives on, it can never be asked again.
            if not await self._exited_within(_LAST_WORDS_SECONDS) and not self._is_leaving:
                self._on_end("closed its input")
            self._incoming.close()

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        try:
            # In pieces, not lines: a line may never end.
            while piece := await self._process.stderr.read(8192):
                for line in piece.decode("utf-8", "replace").splitlines():
                    if line.strip():
                        self._last_words.append(line.strip()[-_MAX_LOGGED_CHARACTERS:])
                        self._log("stderr", line)
        except OSError:
            return

    def _note_stray_line(self, line: bytes) -> None:
        if line.strip():
            self._stray_lines += 1
            self._log("stdout, not an MCP message", line[: 4 * _MAX_LOGGED_CHARACTERS].decode("utf-8", "replace"))

    def _log(self, source: str, line: str) -> None:
        self._logged += 1
        if self._logged <= _MAX_LOGGED_LINES:
            logger.debug("mcp server %s: %s: %s", self._server.name, source, line.rstrip()[:_MAX_LOGGED_CHARACTERS])
        elif self._logged == _MAX_LOGGED_LINES + 1:
            logger.debug("mcp server %s: what it prints from here on is not logged", self._server.name)


async def _start(server: StdioServer, environment: dict[str, str]) -> asyncio.subprocess.Process:
    """The running child.

    Raises:
        ServerNotStarted: the message names the command.
    """
    if server.cwd is not None and not Path(server.cwd).is_dir():  # noqa: ASYNC240 - one stat, before a fork
        raise ServerNotStarted(f"could not be started: the working directory {server.cwd!r} does not exist")
    try:
        return await asyncio.create_subprocess_exec(
            server.command,
            *server.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=server.cwd,
            limit=_MAX_LINE_BYTES,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        # A folder of PATH that may not be read makes a refusal of what is in none of them.
        exists = isinstance(error, PermissionError) and ("/" in server.command or shutil.which(server.command))
        trouble = "may not be executed" if exists else "does not exist; install it or correct it"
        raise ServerNotStarted(f"could not be started: the command {server.command!r} {trouble}") from error
    except (OSError, ValueError) as error:
        raise ServerNotStarted(f"could not be started: the command {server.command!r} fails: {error}") from error
