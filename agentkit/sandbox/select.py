"""Opens the strongest sandbox that works on this machine, which is found out by trying."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from agentkit.errors import ConfigurationError
from agentkit.sandbox.base import Ending, SandboxLimits
from agentkit.sandbox.bubblewrap import Bubblewrap
from agentkit.sandbox.landlock import Landlock
from agentkit.sandbox.mechanism import Mechanism, Setting
from agentkit.sandbox.pool import SandboxPool
from agentkit.sandbox.visible import visible

#: What must not succeed inside, each as an expression that raises OSError when it does not.
_ATTEMPTS = """
import os, socket
def attempt(name, function):
    try:
        function()
    except OSError:
        return []
    return [name]
done = attempt("read a file of the worker", lambda: open({file!r}).read())
done += attempt("read the worker's environment", lambda: open("/proc/{pid}/environ").read())
done += attempt("start a process", os.fork)
done += attempt("open a unix socket", lambda: socket.socket(socket.AF_UNIX))
if not {network}:
    done += attempt("open a socket", socket.socket)
"; ".join(done)
"""


@asynccontextmanager
async def open_sandbox(
    limits: SandboxLimits | None = None,
    *,
    modules: Sequence[str] = (),
    site_packages: bool = False,
    waiting: int = 2,
    at_once: int = 8,
    mechanisms: Sequence[Mechanism] | None = None,
) -> AsyncIterator[SandboxPool]:
    """A sandbox by the first of the mechanisms that holds here: bubblewrap, else Landlock. It never does without.

    Code inside sees the interpreter, its standard library and an empty work folder, and of other files only these:

    Args:
        modules: Of which it sees the outermost package, and which are imported before a job comes.
        site_packages: Whether it sees all installed packages; the modules may need them.
        waiting: Interpreters that are started and wait for a job.
        at_once: Jobs at the same time; one more waits its turn.

    Raises:
        ConfigurationError: no mechanism works here, or a module cannot be imported; the message says what to do.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigurationError("a sandbox needs Linux: its mechanisms (bubblewrap, Landlock) are Linux's own")
    limits = limits or SandboxLimits()
    seen = visible(modules, site_packages=site_packages, network=limits.network)
    setting = Setting(limits=limits, visible=seen, modules=tuple(modules))
    pool = await _strongest(mechanisms or (Bubblewrap(), Landlock()), setting, waiting=waiting, at_once=at_once)
    try:
        yield pool
    finally:
        await pool.aclose()


async def _strongest(mechanisms: Sequence[Mechanism], setting: Setting, *, waiting: int, at_once: int) -> SandboxPool:
    troubles: list[str] = []
    for mechanism in mechanisms:
        pool = SandboxPool(mechanism, setting, waiting=waiting, at_once=at_once)
        try:
            await _try(pool)
        except (ConfigurationError, OSError) as error:
            await pool.aclose()
            troubles.append(f"{mechanism.name} does not work ({error}): {mechanism.remedy}")
        except BaseException:
            await pool.aclose()
            raise
        else:
            return pool
    raise ConfigurationError("there is no sandbox here, and nothing is run without one. " + ". ".join(troubles))


async def _try(pool: SandboxPool) -> None:
    """
    Raises:
        ConfigurationError: no interpreter starts, or it can do what it must not.
    """
    with _file_outside() as file:
        result = await pool.run(_ATTEMPTS.format(file=str(file), pid=os.getpid(), network=pool.limits.network))
    if result.ending is not Ending.finished or result.value != "''":
        raise ConfigurationError(f"code inside could {result.value} {result.error} {result.stderr}".strip())


@contextmanager
def _file_outside() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="agentkit-outside-") as outside:
        file = Path(outside, "file")
        file.write_text("outside")
        # For everybody, so that only the sandbox can keep the code inside from it.
        os.chmod(outside, 0o755)  # noqa: S103
        file.chmod(0o644)
        yield file
