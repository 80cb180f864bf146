"""Turns what a model writes as a path into parts that can be opened one by one, or says what is wrong with it."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from agentkit.errors import BadToolArguments

#: How the files begin that are being written; no path may name one.
TEMPORARY = ".~writing-"
_PATH_LENGTH = 1_000
_DEPTH = 16
#: Bytes of one name; file systems stop at 255.
_NAME_BYTES = 200


def folder_name(run: str) -> str:
    """The folder of a run, whatever its id holds: no two runs share one, also where case or accents do not count."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", run)[:40].strip("-")
    digest = hashlib.sha256(run.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{readable}-{digest}" if readable else digest


def path_parts(path: str) -> tuple[str, ...]:
    """The names of a file's path, from the outermost folder to the file.

    Raises:
        BadToolArguments: the path could mean something outside of the workspace, or cannot be a path.
    """
    parts = folder_parts(path)
    if not parts or path.endswith("/"):
        raise BadToolArguments(f"{_shown(path)} is no path of a file; write one like notes/plan.txt.")
    return parts


def folder_parts(path: str) -> tuple[str, ...]:
    """The names of a folder's path; none for the workspace itself (`.` or nothing).

    Raises:
        BadToolArguments: as `path_parts`.
    """
    # One spelling for what looks the same: é is one character or two.
    normal = unicodedata.normalize("NFC", path)
    if len(normal) > _PATH_LENGTH or not normal.isprintable() or "\\" in normal:
        raise BadToolArguments(f"{_shown(path)} is too long for a path, or holds a control character or a backslash.")
    if normal.startswith(("/", "~")):
        raise BadToolArguments(f"{_shown(path)} is not in the workspace; paths begin with a name, such as plan.txt.")
    parts = tuple(part for part in normal.split("/") if part not in ("", "."))
    if len(parts) > _DEPTH:
        raise BadToolArguments(f"{_shown(path)} is nested more than {_DEPTH} folders deep.")
    for part in parts:
        _check_name(part, path)
    return parts


def _check_name(name: str, path: str) -> None:
    if name == "..":
        raise BadToolArguments(f"{_shown(path)} leads out of a folder; '..' is not allowed.")
    if len(name.encode()) > _NAME_BYTES:
        raise BadToolArguments(f"A name in {_shown(path)} is longer than {_NAME_BYTES} bytes.")
    if name != name.strip() or name.startswith(TEMPORARY):
        raise BadToolArguments(f"The name {_shown(name)} is not allowed.")


def _shown(path: str) -> str:
    return ascii(path[:200]) if not path.isprintable() else repr(path[:200])
