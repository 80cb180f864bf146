"""Starts programs as an ordinary user, whoever runs the tests, with a Python that such a user can read."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

#: A user of this process's own, which no account has: tests that run beside must not be able to send it signals.
_USER = 61_000 + os.getpid() % 4_000


#: The checkout.
_SOURCES = Path(__file__).resolve().parents[3]


def as_ordinary_user(command: list[str]) -> list[str]:
    """The command that does this as a user who may do nothing; as the present one when that is no root."""
    if os.geteuid() != 0:
        return command
    drop = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    return with_readable_python([*drop, "--inh-caps=-all", "--bounding-set=-all", *command])


def with_readable_python(command: list[str]) -> list[str]:
    """Root may keep Python, its packages or these tests where nobody else can enter (/root, .tox): to this command
    alone such folders are shown with nothing in them but these."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve().parents[1]
    needed = list(dict.fromkeys([base, Path(sys.prefix).resolve(), _SOURCES]))
    shut = {each for path in needed for each in path.parents if not each.stat().st_mode & 0o001}
    if not shut:
        return command
    kept = {path: f"/mnt/{number}" for number, path in enumerate(needed)}
    steps = ["mount -t tmpfs -o mode=755 none /mnt"]
    for path, place in kept.items():
        steps += [f"mkdir {place}", f"mount --bind {shlex.quote(str(path))} {place}"]
    # The outermost first: what is shown again in it may hold another.
    for folder in sorted(shut, key=lambda each: len(each.parts)):
        steps.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(folder))}")
        for path, place in kept.items():
            if folder in path.parents:
                shown = shlex.quote(str(path))
                steps += [f"mkdir -p {shown}", f"mount --bind {place} {shown}"]
    return ["unshare", "--mount", "sh", "-c", " && ".join([*steps, f"exec {shlex.join(command)}"])]
