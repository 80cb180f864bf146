"""Confinement by bubblewrap: namespaces of its own, in which there is only what was bound into them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentkit.errors import ConfigurationError
from agentkit.sandbox.mechanism import INSIDE, Launch, Setting, common_orders, environment, python_command, stranger
from agentkit.sandbox.seccomp import filter_program
from agentkit.sandbox.system_calls import this_processor
from agentkit.sandbox.visible import masked

#: Where nobody installs anything that has to be seen inside.
_WORK_FOLDER = "/run/agentkit/work"
_PROGRAM = "/run/agentkit/inside.py"
_DEVICES = ("/dev/null", "/dev/urandom")


class Bubblewrap:
    """Processes, network, users, IPC and mounts of its own; the filter of system calls comes on top.

    Started by root it does without a namespace of users, and becomes a user that nobody is. Nobody else can do without
    one, so the system must let ordinary users make them.
    """

    name = "bubblewrap"
    remedy = (
        "install bubblewrap (`apt install bubblewrap`, `dnf install bubblewrap`), and let this user make namespaces "
        "(sysctl user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0; in a container "
        "they are up to the host)"
    )

    def launch(self, setting: Setting) -> Launch:
        program = shutil.which("bwrap")
        if program is None:
            raise ConfigurationError("there is no program `bwrap`")
        user = stranger()
        processor = this_processor()
        size = {
            "bytes": setting.limits.files_bytes,
            "files": setting.limits.files,
            "user": os.getuid() if user is None else user,
            "group": os.getgid() if user is None else user,
        }
        calls = filter_program(processor, network=setting.limits.network, may_change_modes=True)
        orders = common_orders(setting, folder=_WORK_FOLDER, user=user, program=calls) | {"mount": size}
        confined = (*_namespaces(setting, is_root=user is not None), *_files(setting), "--chdir", "/", "--")
        return Launch(
            command=(program, *confined, *python_command(setting, _PROGRAM)),
            environment=environment(_WORK_FOLDER),
            orders=orders,
        )


def _namespaces(setting: Setting, *, is_root: bool) -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--new-session", "--die-with-parent", "--hostname", "sandbox")
    if not setting.limits.network:
        yield "--unshare-net"
    # Until the interpreter has mounted its work folder and become somebody else, and then gives them up.
    yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN")
    if is_root:
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        # The interpreter is the first process of its namespace: one of bubblewrap's own would be left behind dead when
        # the code ends its process. Root needs that one, as a dying bubblewrap has no right to kill a stranger.
        yield from ("--unshare-user", "--as-pid-1")


def _files(setting: Setting) -> Iterator[str]:
    """A read-only root, in which there is what the code may read and an empty folder to mount another one on."""
    seen = setting.visible
    yield from _parents([*seen.system, seen.python, *seen.library, *seen.packages, *map(Path, (*_DEVICES, _PROGRAM))])
    yield from _bound([*seen.system, seen.python, *seen.library])
    hidden = [str(folder) for folder in masked(seen.library)]
    for folder in hidden:
        yield from ("--tmpfs", folder)
    yield from _bound(seen.packages)
    for folder in hidden:
        yield from ("--remount-ro", folder)
    for device in _DEVICES:
        yield from ("--dev-bind", device, device)
    yield from ("--ro-bind", str(INSIDE), _PROGRAM, "--dir", _WORK_FOLDER, "--remount-ro", "/")


def _parents(paths: Iterable[Path]) -> Iterator[str]:
    """Left to bubblewrap, they would be as private as those outside, whose files the code inside is to read."""
    for folder in dict.fromkeys(parent for path in paths for parent in reversed(path.parents[:-1])):
        yield from ("--dir", str(folder))


def _bound(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        if path.is_symlink() and path.is_dir():
            yield from ("--symlink", os.readlink(path), str(path))
        else:
            yield from ("--ro-bind", str(path), str(path))
