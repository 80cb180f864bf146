"""Confinement without namespaces: Landlock for files, and the filter of system calls for all that it does not judge."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from agentkit.errors import ConfigurationError
from agentkit.sandbox.mechanism import INSIDE, Launch, Setting, common_orders, environment, python_command, stranger
from agentkit.sandbox.seccomp import filter_program
from agentkit.sandbox.system_calls import this_processor
from agentkit.sandbox.visible import masked

_DEVICES = ("/dev/null", "/dev/urandom")


class Landlock:
    """Files, processes and the network are out of reach, but not out of sight in all respects.

    The code inside can find out that a file exists whose path it guesses, and how large it is; it cannot open it. Its
    work folder takes files and no folders, and their total may pass the limit for a moment. Modes and times of files
    cannot be changed, not even of its own.

    Any version of Landlock will do: what the older ones do not judge (truncation before the third, TCP before the
    fourth, devices before the fifth, signals and abstract sockets before the sixth), the filter refuses.
    """

    name = "Landlock"
    remedy = "run Linux 5.13 or newer with Landlock enabled (`landlock` in /sys/kernel/security/lsm)"

    def __init__(self, *, newest_version: int = 1_000) -> None:
        """
        Args:
            newest_version: Pretend that the kernel knows no newer one, to see whether the older ones hold.
        """
        self._newest_version = newest_version

    def launch(self, setting: Setting) -> Launch:
        user = stranger()
        if user is not None:
            _require_readable(setting)
        processor = this_processor()
        calls = filter_program(processor, network=setting.limits.network, may_change_modes=False)
        folder = Path(tempfile.mkdtemp(prefix="agentkit-sandbox-"))
        try:
            if user is not None:
                os.chown(folder, user, user)
            orders = common_orders(setting, folder=str(folder), user=user, program=calls)
            orders |= {"landlock": self._rules(setting, folder), "shares_user": user is None}
        except BaseException:
            shutil.rmtree(folder)
            raise
        return Launch(
            command=python_command(setting, str(INSIDE)),
            environment=environment(str(folder)),
            orders=orders,
            folder=folder,
        )

    def _rules(self, setting: Setting, folder: Path) -> dict[str, object]:
        seen = setting.visible
        readable = [*seen.system, seen.python, *_without(masked(seen.library), seen.library), *seen.packages]
        return {
            "readable": [str(path) for path in readable],
            "devices": list(_DEVICES),
            "folder": str(folder),
            "network": setting.limits.network,
            "newest_version": self._newest_version,
        }


def _without(hidden: tuple[Path, ...], folders: tuple[Path, ...]) -> list[Path]:
    """A rule opens a folder with all that is in it, so what surrounds a hidden one is opened piece by piece."""
    pieces: list[Path] = []
    for folder in folders:
        inside = [each for each in hidden if each.parent == folder]
        pieces += [each for each in folder.iterdir() if each not in inside] if inside else [folder]
    return pieces


def _require_readable(setting: Setting) -> None:
    """
    Raises:
        ConfigurationError: an ordinary user cannot get to the files of Python.
    """
    for path in (setting.visible.python, *setting.visible.library, *setting.visible.packages):
        shut = [each for each in (path, *path.parents) if each.is_dir() and not each.stat().st_mode & 0o001]
        if shut:
            raise ConfigurationError(
                f"the code inside runs as an ordinary user, who cannot enter {str(shut[-1])!r}, where {path.name!r} "
                "lies; install Python where everybody can read it, or do not run as root"
            )
