"""What runs inside a sandbox: it confines itself as it is told, says so, and then does one job.

Started by its path, apart from the package that it lies in: it may import the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import struct
import sys
import time
from typing import Any

#: Where orders and the job come in, and where answers go out.
_ORDERS, _ANSWERS = 0, 3
_LENGTH = struct.Struct("!I")

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
#: When an answer was given, the time in which it must have come to our end.
_KILLED_SECONDS = 60
_CAPABILITY_VERSION = 0x20080522
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

#: Rights that Landlock judges, by the version that brought them; no version is said to judge more than we know.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = 1, 2, 4, 8, 1 << 5, 1 << 8
_TRUNCATE = 1 << 14
_BIND_AND_CONNECT_TCP = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The confinement that was ordered cannot be had here."""


def main() -> None:
    """One life: orders, confinement, one job."""
    os.dup2(int(sys.argv[1]), _ANSWERS)
    os.closerange(_ANSWERS + 1, 2**31 - 1)
    orders = _receive()
    if orders is None:
        os._exit(0)
    try:
        _confine(orders)
    except (Refused, OSError, ValueError) as error:
        _leave({"refused": str(error)})
    sys.path += orders["import_path"]
    try:
        _prepare(orders["modules"], orders["places"])
    except BaseException as error:  # noqa: BLE001  foreign code, and the one who ordered it is told
        _leave({"unprepared": _last_line(error)})
    _send({"ready": True})
    job = _receive()
    if job is not None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, _ORDERS)
        os.close(nothing)
        _limit_processor_time(orders["processor_seconds"]["job"], orders["processor_seconds"]["last"])
        _send(_done(job))
        # Whoever has the answer ends this process, and then knows that it did.
        time.sleep(_KILLED_SECONDS)
    os._exit(0)


def _receive() -> Any:
    """The next message; None when the worker has gone or wants nothing more."""
    head = _read(_LENGTH.size)
    body = _read(_LENGTH.unpack(head)[0]) if head is not None else None
    return None if body is None else json.loads(body)


def _read(size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(_ORDERS, min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _send(message: dict[str, Any]) -> None:
    body = json.dumps(message, allow_nan=False).encode()
    left = memoryview(_LENGTH.pack(len(body)) + body)
    while left:
        left = left[os.write(_ANSWERS, left) :]


def _leave(message: dict[str, Any]) -> None:
    # Not `sys.exit`: neither threads nor what was registered to run at the end may hold up the answer.
    _send(message)
    os._exit(0)


# ---------------------------------------------------------------------------------------------------------------------
# Confinement, in an order that matters: what takes privileges comes before they are dropped, the filter last.


def _confine(orders: dict[str, Any]) -> None:
    if orders["mount"] is not None:
        _mount_work_folder(orders["folder"], orders["mount"])
    _limit(orders["limits"], threads=orders["threads"] + (_tasks_of_this_user() if orders["shares_user"] else 0))
    times = orders["processor_seconds"]
    # The job has its time to itself, so the limit is drawn closer when it comes; it could not be widened.
    _limit_processor_time(int(times["ready"]) + times["job"], times["last"])
    rules = _landlock_rules(orders["landlock"]) if orders["landlock"] is not None else None
    if orders["user"] is not None:
        _become(orders["user"])
    _drop_capabilities()
    os.chdir(orders["folder"])
    # After the change of user, which would undo it.
    _call("end with the worker", _libc.prctl, _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    _call("give up new privileges", _libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if rules is not None:
        _call("restrict itself with Landlock", _libc.syscall, _RESTRICT_SELF, rules, 0)
        os.close(rules)
    _install_filter(bytes.fromhex(orders["filter"]))
    _make_sure()


def _call(what: str, function: Any, *arguments: Any) -> int:
    # As C longs: a variadic function would take an int with whatever lies in its upper half.
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = function(*given)
    if result == -1:
        raise Refused(f"it could not {what}: {os.strerror(ctypes.get_errno())}")
    return result


def _mount_work_folder(folder: str, size: dict[str, int]) -> None:
    options = f"size={size['bytes']},nr_inodes={size['files'] + 1},mode=700,uid={size['user']},gid={size['group']}"
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _call("mount its work folder", _libc.mount, b"tmpfs", folder.encode(), b"tmpfs", flags, options.encode())


def _tasks_of_this_user() -> int:
    """The kernel counts the threads of all processes of a user together, this one's too."""
    count = 0
    for each in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{each}").st_uid == os.getuid() and int(each) != os.getpid():
                count += len(os.listdir(f"/proc/{each}/task"))
        except OSError:
            continue
    return count


def _limit(limits: dict[str, list[int]], *, threads: int) -> None:
    for name, (soft, hard) in (limits | {"RLIMIT_NPROC": [threads, threads]}).items():
        which = getattr(resource, name)
        highest = resource.getrlimit(which)[1]
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        resource.setrlimit(which, (soft, hard))


def _limit_processor_time(seconds: int, last_seconds: int) -> None:
    soft = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + last_seconds))


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if os.getresuid() != (user,) * 3 or os.getresgid() != (user,) * 3:
        raise Refused(f"it could not become the user {user}")


def _drop_capabilities() -> None:
    head = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _call("drop its capabilities", _libc.capset, head, bytes(24))
    left = ctypes.create_string_buffer(24)
    _call("see its capabilities", _libc.capget, head, left)
    if any(left.raw):
        raise Refused("it could not drop its capabilities")


def _landlock_rules(orders: dict[str, Any]) -> int:
    """The descriptor of a set of rules, which bind from the moment that the process restricts itself with them."""
    version = _libc.syscall(*map(ctypes.c_long, (_CREATE_RULESET, 0, 0, _ASK_VERSION)))
    if version < 1:
        raise Refused("the kernel has no Landlock (5.13 or newer, with `landlock` among its security modules)")
    version = min(version, orders["newest_version"])
    handled = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    tcp = _BIND_AND_CONNECT_TCP if version >= 4 and not orders["network"] else 0
    scoped = _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, tcp, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _call("make rules for Landlock", _libc.syscall, _CREATE_RULESET, attributes, len(attributes), 0)
    for path in orders["readable"]:
        _permit(rules, path, handled & (_READ_FILE | _READ_DIR))
    for path in orders["devices"]:
        _permit(rules, path, handled & (_READ_FILE | _WRITE_FILE))
    # Files only: a tree could be too deep to be measured or removed.
    within = _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
    _permit(rules, orders["folder"], handled & within)
    return rules


def _permit(rules: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, place)
        _call(f"permit {path} with Landlock", _libc.syscall, _ADD_RULE, rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _install_filter(instructions: bytes) -> None:
    program = ctypes.pointer(_FilterProgram(len(instructions) // 8, instructions))
    _call("filter its system calls", _libc.prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)


def _make_sure() -> None:
    """What is ordered and what holds could differ; one call that must fail tells for all."""
    try:
        child = os.fork()
    except PermissionError:
        return
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    raise Refused("its filter of system calls does not hold")


# ---------------------------------------------------------------------------------------------------------------------
# From here on foreign code runs, and nothing that is said can be trusted.


class _Finder:
    """Finds what is seen on its own: a path to search would have to be listed, with all that lies beside it."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        from importlib.util import spec_from_file_location

        if (file := self._places.get(name)) is None:
            return None
        package = os.path.dirname(file)
        is_package = os.path.basename(file).startswith("__init__.")
        return spec_from_file_location(name, file, submodule_search_locations=[package] if is_package else None)


def _prepare(modules: list[str], places: dict[str, str]) -> None:
    import ast  # noqa: F401  what the job needs is there before it comes
    import importlib
    import linecache  # noqa: F401
    import traceback  # noqa: F401

    if places:
        sys.meta_path.append(_Finder(places))
    for name in modules:
        importlib.import_module(name)
    for stream in (sys.stdout, sys.stderr):
        # By the line, so that what was printed is there when the job is killed.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _done(job: dict[str, Any]) -> dict[str, Any]:
    try:
        value = _run(job["code"], job["value_length"]) if "code" in job else _called(job["function"], job["arguments"])
        answer: dict[str, Any] = {"value": json.loads(json.dumps(value, allow_nan=False))}
    except BaseException as error:  # noqa: BLE001  foreign code may raise anything; the worker is told
        answer = {"error": _told(error), "out_of_memory": isinstance(error, MemoryError)}
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except BaseException:  # noqa: BLE001, S112  it was closed, or replaced by foreign code
            continue
    return answer


def _run(source: str, value_length: int) -> str | None:
    import ast
    import linecache
    from types import ModuleType

    # A module of its own, where classes and functions of the code belong to.
    module = sys.modules["__main__"] = ModuleType("__main__")
    linecache.cache["<code>"] = (len(source), None, source.splitlines(keepends=True), "<code>")
    tree = ast.parse(source, "<code>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<code>", "exec"), module.__dict__)  # noqa: S102  what a sandbox is for
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compile(ast.Expression(last.value), "<code>", "eval"), module.__dict__)  # noqa: S307
    if value is None:
        return None
    text = repr(value)
    left = len(text) - value_length
    return text if left <= 0 else f"{text[:value_length]}… ({left} more characters)"


def _called(function: str, arguments: dict[str, Any]) -> Any:
    import importlib
    from operator import attrgetter

    module, _, name = function.partition(":")
    return attrgetter(name)(importlib.import_module(module))(**arguments)


def _told(error: BaseException) -> str:
    """The traceback, without our own part in it."""
    import traceback

    try:
        here = __file__
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == here:
            frames = frames.tb_next
        return "".join(traceback.format_exception(type(error), error, frames)).strip()
    except BaseException:  # noqa: BLE001  foreign code says how its exceptions are written
        return type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = _told(error).splitlines()
    return lines[-1] if lines else type(error).__name__


if __name__ == "__main__":
    main()
