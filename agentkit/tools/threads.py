"""Runs blocking functions in threads that cannot hold up the process when they hang."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """At most `limit` blocking functions at once; one more waits for a free place.

    Not the loop's default executor: its few threads are waited for when the loop and the interpreter end, so one
    function that hangs would hold up every shutdown.
    """

    def __init__(self, *, limit: int = 64) -> None:
        self._places = asyncio.Semaphore(limit)

    @property
    def are_all_taken(self) -> bool:
        """Whether one more function would have to wait."""
        return self._places.locked()

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result. Cancelling stops the waiting; the thread itself runs on and keeps its place."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def finish(result: T | None, error: BaseException | None) -> None:
            self._places.release()
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # a result when there is no error

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except StopIteration as stop:
                # A future refuses StopIteration, and the caller would wait for ever.
                error = RuntimeError(f"the function raised StopIteration({stop.value!r})")
            except (KeyboardInterrupt, GeneratorExit) as raised:
                # Nobody's Ctrl-C reaches this thread; on the loop it would look like one.
                error = RuntimeError(f"the function raised {type(raised).__name__}")
            except BaseException as raised:  # noqa: BLE001  handed to the caller, who decides
                error = raised
            # The loop may be closed by the time a function that hung comes back.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, result, error)

        threading.Thread(target=work, name="agentkit-tool", daemon=True).start()
        return await done
