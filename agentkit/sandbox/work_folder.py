"""A work folder on disk, whose size no kernel bounds: it is measured while the code runs, and removed after it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


class WorkFolder:
    """Flat: the code inside cannot make folders in it."""

    def __init__(self, path: Path, *, most_bytes: int, most_files: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._most_files = most_files

    def is_too_full(self, pid: int) -> bool:
        """Whether the files in it, and those that the process deleted and still holds, are too many or too large."""
        used = self._held_bytes(pid)
        with os.scandir(self._path) as entries:
            for count, entry in enumerate(entries, 1):
                with contextlib.suppress(FileNotFoundError):
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                if count > self._most_files or used > self._most_bytes:
                    return True
        return used > self._most_bytes

    def _held_bytes(self, pid: int) -> int:
        held = 0
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    about = entry.stat()
                    if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                        held += about.st_blocks * 512
        return held

    def remove(self) -> None:
        """When the process is gone."""
        with os.scandir(self._path) as entries:
            for entry in entries:
                os.unlink(entry.path)
        self._path.rmdir()
