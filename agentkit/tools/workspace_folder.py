"""One run's folder of files: no path leads out of it, quotas hold whoever else is writing, and writes are atomic."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import BadToolArguments, ToolFailed
from agentkit.tools.workspace_paths import TEMPORARY

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Not blocking, since opening a FIFO would wait for its other end.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Quota:
    """Bounds on one run's folder."""

    max_bytes: int
    #: Files and folders together.
    max_files: int
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in the folder."""

    #: From the folder, with `/`.
    path: str
    size: int
    #: A file that can be read: no link, device, pipe or folder, and under one name only.
    is_plain: bool
    is_folder: bool


class RunFolder:
    """A folder whose parts are opened one by one from a descriptor, never through a path or a link.

    Blocking; made for threads. Other processes may write to it too, through this class or otherwise: the lock is the
    operating system's, and what somebody else put there (links, pipes, devices) is neither followed nor opened.
    """

    def __init__(self, root: Path, name: str, quota: Quota) -> None:
        self._root = root
        self._name = name
        self._quota = quota

    def entries(self, parts: Sequence[str] = ()) -> list[Entry]:
        """All that is in a folder and below, sorted by path, as far as the quota reaches.

        Raises:
            ToolFailed: there is no such folder.
        """
        with self._opened() as top:
            if top is None:
                return []
            with _folder(top, parts) as folder:
                return sorted(self._walk(folder, "/".join(parts)), key=lambda entry: entry.path)

    def read(self, parts: Sequence[str]) -> bytes:
        """The content of a file.

        Raises:
            ToolFailed: there is no such file, it is not a plain one, or it is larger than a file may be.
        """
        path = "/".join(parts)
        with self._opened() as top:
            if top is None:
                raise ToolFailed(f"There is no file {path!r}.")
            with _folder(top, parts[:-1]) as folder:
                return self._content(folder, parts[-1], path)

    def write(self, parts: Sequence[str], content: bytes) -> None:
        """Put the content in place of the file's old one, all or nothing; folders on the way are made.

        Raises:
            ToolFailed: the quota would be exceeded, or something else stands there.
        """
        with self._locked() as top:
            self._replace(top, parts, content)

    def append(self, parts: Sequence[str], content: bytes) -> int:
        """Add to the end of the file, all or nothing; its new size. A file that is not there is made.

        Raises:
            ToolFailed: as `write` and `read`.
        """
        with self._locked() as top:
            try:
                with _folder(top, parts[:-1]) as folder:
                    old = self._content(folder, parts[-1], "/".join(parts))
            except _NotThere:
                old = b""
            self._replace(top, parts, old + content)
            return len(old) + len(content)

    def delete(self, parts: Sequence[str]) -> bool:
        """Take a file away, or a folder that is empty; False when it was not there.

        Raises:
            ToolFailed: the folder is not empty.
        """
        path = "/".join(parts)
        with self._locked() as top, suppress(_NotThere), _folder(top, parts[:-1]) as folder:
            try:
                found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    with _folder(folder, parts[-1:]) as unwanted:
                        _clear_left_over(unwanted)
                    os.rmdir(parts[-1], dir_fd=folder)
                else:
                    os.unlink(parts[-1], dir_fd=folder)
            except FileNotFoundError:
                return False
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    raise ToolFailed(f"The folder {path!r} is not empty; delete what is in it first.") from error
                raise
            return True
        return False

    def _replace(self, top: int, parts: Sequence[str], content: bytes) -> None:
        self._check_quota(top, parts, len(content))
        with _folder(top, parts[:-1], make=True) as folder:
            found = _found(folder, parts[-1])
            if found is not None and not stat.S_ISREG(found.st_mode):
                raise ToolFailed(f"{'/'.join(parts)!r} is not a file, so nothing can be written to it.")
            _write_atomically(folder, parts[-1], content)

    def _check_quota(self, top: int, parts: Sequence[str], size: int) -> None:
        quota = self._quota
        if size > quota.max_file_bytes:
            raise ToolFailed(f"A file may have {quota.max_file_bytes:,} bytes, not {size:,}.")
        path = "/".join(parts)
        wanted = {"/".join(parts[:length]) for length in range(1, len(parts) + 1)}
        others_bytes, others = 0, 0
        for entry in self._walk(top, ""):
            others_bytes += 0 if entry.path == path else entry.size
            others += entry.path not in wanted
        if others + len(wanted) > quota.max_files:
            raise ToolFailed(f"The workspace may hold {quota.max_files:,} files and folders; delete some first.")
        if others_bytes + size > quota.max_bytes:
            left = max(0, quota.max_bytes - others_bytes)
            raise ToolFailed(f"The workspace has room for {left:,} more bytes, not for {size:,}; delete files first.")

    def _content(self, folder: int, name: str, path: str) -> bytes:
        found = _found(folder, name)
        if found is None:
            raise _NotThere(f"There is no file {path!r}.")
        # Looked at before it is opened, since to open a device may do something, and once more when it is.
        _check_plain(found, path)
        file = os.open(name, _FILE, dir_fd=folder)
        with os.fdopen(file, "rb") as opened:
            _check_plain(os.fstat(file), path)
            content = opened.read(self._quota.max_file_bytes + 1)
        if len(content) > self._quota.max_file_bytes:
            raise ToolFailed(f"{path!r} is larger than {self._quota.max_file_bytes:,} bytes, too large to be read.")
        return content

    def _walk(self, folder: int, path: str) -> Iterator[Entry]:
        """A little more than the quota allows, so that one that is exceeded is seen to be."""
        left = self._quota.max_files + 1
        waiting = [path]
        while waiting and left > 0:
            inner = waiting.pop()
            below = inner.removeprefix(path).strip("/")
            # What went away, or was exchanged for a link, since it was seen is not gone into.
            with suppress(ToolFailed), _folder(folder, below.split("/") if below else ()) as opened:
                for entry in _entries(opened, inner):
                    yield entry
                    left -= 1
                    if entry.is_folder:
                        waiting.append(entry.path)
                    if left <= 0:
                        break

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """The folder of the run; None while nothing was written to it."""
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        with _closing(root):
            try:
                top = os.open(self._name, _FOLDER, dir_fd=root)
            except FileNotFoundError:
                yield None
                return
            with _closing(top):
                yield top

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The folder of the run, made if need be, with nobody else writing to it."""
        self._root.mkdir(parents=True, exist_ok=True)
        root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with _closing(root):
            with suppress(FileExistsError):
                os.mkdir(self._name, 0o700, dir_fd=root)
            top = os.open(self._name, _FOLDER, dir_fd=root)
        with _closing(top):
            _lock(top)
            yield top


class _NotThere(ToolFailed):
    """There is no such file or folder."""

    code = "tool_file_not_found"


def _lock(folder: int) -> None:
    """Let go of when the descriptor is closed, also by the death of the process."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise ToolFailed("Somebody else has been writing to the workspace for too long; try later.") from error
        time.sleep(_LOCK_POLL_SECONDS)


@contextmanager
def _folder(top: int, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The folder at the end of the parts, each opened from the one before."""
    folder = os.dup(top)
    try:
        for number, part in enumerate(parts, 1):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=folder)
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                path = "/".join(parts[:number])
                if error.errno == errno.ENOENT:
                    raise _NotThere(f"There is no folder {path!r}.") from error
                # A link is ELOOP on Linux and ENOTDIR with O_DIRECTORY, and other numbers elsewhere.
                if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                    raise ToolFailed(f"{path!r} is not a folder.") from error
                raise
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _entries(folder: int, path: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for each in found:
            if each.name.startswith(TEMPORARY):
                continue
            try:
                status = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            size = 0 if is_folder else status.st_size
            yield Entry(f"{path}/{each.name}" if path else each.name, size, is_plain, is_folder)


def _found(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_plain(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise BadToolArguments(f"{path!r} is a folder.")
    if not stat.S_ISREG(status.st_mode):
        raise ToolFailed(f"{path!r} is not a file (a link, a device or a pipe).")
    # Under its other name it may be a file outside.
    if status.st_nlink != 1:
        raise ToolFailed(f"{path!r} is a file with several names, which is not opened.")


def _clear_left_over(folder: int) -> None:
    """What a process that died was writing; only for who holds the lock, so that nobody is writing now."""
    for name in os.listdir(folder):
        if name.startswith(TEMPORARY):
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)


def _write_atomically(folder: int, name: str, content: bytes) -> None:
    _clear_left_over(folder)
    temporary = TEMPORARY + secrets.token_hex(8)
    file = os.open(temporary, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            # What the journal calls done must be there after a power failure.
            os.fsync(file)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
