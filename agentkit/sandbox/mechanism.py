"""What each way to confine an interpreter has to provide, and what all of them order alike."""

from __future__ import annotations

import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentkit.errors import ConfigurationError
from agentkit.sandbox.base import SandboxLimits
from agentkit.sandbox.visible import Visible
from agentkit.transcript import JsonObject

#: The program that runs inside.
INSIDE = Path(__file__).with_name("inside.py")
#: All of the environment inside, with the work folder as HOME and TMPDIR.
_ENVIRONMENT = {"LANG": "C.UTF-8", "TZ": "UTC", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
#: Users that no distribution gives out, to persons, services or containers.
_SPARE_USERS = range(0x70000000, 0x7FFF0000)
#: How long an interpreter may take until it can be given a job; its imports are most of that.
READY_SECONDS = 60.0
#: Once its time is up, what a job that ignores the signal may still compute.
_LAST_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """What a job is to find inside."""

    limits: SandboxLimits
    visible: Visible
    #: What is imported before the job comes.
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one interpreter that will confine itself."""

    command: tuple[str, ...]
    environment: dict[str, str]
    #: Told to the interpreter before anything else.
    orders: JsonObject
    #: On disk, private to this interpreter; to be watched while it works, and removed after it. None when the kernel
    #: bounds the work folder and forgets it by itself.
    folder: Path | None = None


class Mechanism(Protocol):
    """A way to confine an interpreter."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def remedy(self) -> str:
        """What to do so that this way works here."""
        ...

    def launch(self, setting: Setting) -> Launch:
        """Everything for one more interpreter; nothing runs yet.

        Raises:
            ConfigurationError: this way is closed here; the message says why.
        """
        ...


def python_command(setting: Setting, program: str) -> tuple[str, ...]:
    """Isolated: no environment variables, no user's folder, no `site`, no compiled files left behind."""
    return (str(setting.visible.python), "-I", "-S", "-B", "-X", "utf8", program)


def environment(folder: str) -> dict[str, str]:
    """All variables inside."""
    return _ENVIRONMENT | {"HOME": folder, "TMPDIR": folder}


def common_orders(setting: Setting, *, folder: str, user: int | None, program: bytes) -> JsonObject:
    """What any confinement has; a mechanism adds its own.

    Args:
        user: Whom a process that was started by root becomes.
    """
    limits = setting.limits
    hard = {
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.files_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": 64,
        "RLIMIT_NICE": 0,
        "RLIMIT_RTPRIO": 0,
    }
    return {
        "folder": folder,
        "limits": {name: [most, most] for name, most in hard.items()},
        "processor_seconds": {"ready": READY_SECONDS, "job": math.ceil(limits.seconds), "last": _LAST_SECONDS},
        "threads": limits.threads,
        "shares_user": False,
        "user": user,
        "filter": program.hex(),
        "mount": None,
        "landlock": None,
        "places": {name: str(file) for name, file in setting.visible.places.items()},
        "import_path": [str(folder) for folder in setting.visible.import_path],
        "modules": list(setting.modules),
    }


def stranger() -> int | None:
    """A user and group that nobody is, for what root starts; None when this process is not root.

    Each interpreter has another one: the kernel counts processes by user, and judges signals by it.

    Raises:
        ConfigurationError: there is none to become.
    """
    if os.geteuid() != 0:
        return None
    users = _users_here()
    if not users:
        raise ConfigurationError("root of this container has no other user that it could become")
    return users.start + secrets.randbelow(len(users))


def _users_here() -> range:
    """In a container of an ordinary user there are only some, of which the last are the least likely to be taken."""
    best = range(0)
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        mapped = range(first, first + count)
        if mapped.start <= _SPARE_USERS.start and mapped.stop >= _SPARE_USERS.stop:
            return _SPARE_USERS
        upper = range(max(mapped.start + count // 2, 1), mapped.stop - 1)
        best = max(best, upper, key=len)
    return best
