"""Which system calls the code inside may make, as a filter program for the kernel.

An allow-list: what is not named does not exist (ENOSYS), so that a kernel's new calls are refused too. What people do
meet in Python is refused by name (EPERM), which is a PermissionError inside. A call from another architecture's table
kills.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentkit.sandbox.system_calls import Processor

#: Harmless with any arguments: they reach only what is open, the process itself, or what Landlock or the mounts judge.
_ALLOWED = """
    read write close fstat lseek pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 sendfile copy_file_range
    dup dup2 dup3 close_range pipe pipe2 fsync fdatasync ftruncate fallocate fadvise64 creat
    mmap mprotect munmap brk mremap msync madvise
    access faccessat faccessat2 stat lstat newfstatat statx statfs fstatfs readlink readlinkat getdents getdents64
    getcwd chdir fchdir umask mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack signalfd signalfd4
    pause alarm getitimer setitimer
    select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime
    nanosleep clock_nanosleep gettimeofday time clock_gettime clock_getres times
    exit exit_group wait4 waitid futex set_robust_list rseq membarrier restart_syscall sched_yield sched_getaffinity
    getpriority getcpu getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups
    getpgrp getpgid getsid getrlimit setrlimit getrusage sysinfo uname getrandom
    sendto recvfrom sendmsg recvmsg shutdown getsockname getpeername getsockopt
"""
#: Landlock does not judge these, and a process of the worker's own user may do them to all of its files.
_MODES_AND_TIMES = "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat"
_NETWORK = "connect setsockopt sendmmsg recvmmsg"
_REFUSED = """
    fork vfork execve execveat kill tkill tgkill ptrace link linkat symlink symlinkat truncate flock
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat
    socket connect bind listen accept accept4 setsockopt sendmmsg recvmmsg
    mount umount2 chroot unshare setns setuid setgid setpriority sched_setaffinity setsid setpgid
    memfd_create inotify_init1 inotify_add_watch
"""

#: Pipes and stretches of the file; not owners and signals (F_SETOWN, F_SETSIG), which reach other processes.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
#: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not TIOCSTI, nor FIOSETOWN.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
#: PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS.
_PRCTL = (15, 16, 21, 39)
_CLONE_THREAD = 0x10000
#: CLONE_NEWTIME, CLONE_NEWNS and all the other new namespaces.
_CLONE_NEW = 0x80 | 0x20000 | 0x7E000000
_O_TRUNC = 0x200
_O_TMPFILE = 0x400000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM = 1, 2
#: What is left of a socket's type without SOCK_CLOEXEC and SOCK_NONBLOCK.
_SOCK_TYPE = 0xF

_LOAD, _AND, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
#: Where struct seccomp_data holds them.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


@dataclass(frozen=True, slots=True)
class _Check:
    """An argument, of which these bits must be one of these values."""

    argument: int
    among: tuple[int, ...]
    bits: int = 0xFFFFFFFF


def filter_program(processor: Processor, *, network: bool, may_change_modes: bool) -> bytes:
    """The filter as an array of struct sock_filter.

    Args:
        may_change_modes: Whether the modes and times of all files that it owns and can name are its own affair.
    """
    calls = processor.numbers
    allowed = f"{_ALLOWED} {_NETWORK if network else ''} {_MODES_AND_TIMES if may_change_modes else ''}".split()
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_IF_EQUAL, processor.audit, 1, 0),
        _end(_KILL_PROCESS),
    ]
    code.append(_instruction(_LOAD, _NUMBER))
    if processor.first_foreign is not None:
        code += [_instruction(_JUMP_IF_AT_LEAST, processor.first_foreign, 0, 1), _end(_KILL_PROCESS)]
    for name in allowed:
        code += _when(calls.get(name), [_end(_ALLOW)])
    for name, checks in _checked(network=network):
        code += _when(calls.get(name), _judged(checks))
    for name in _REFUSED.split():
        code += _when(calls.get(name), [_end(_ERRNO | errno.EPERM)])
    code.append(_end(_ERRNO | errno.ENOSYS))
    return b"".join(code)


def _checked(*, network: bool) -> Iterable[tuple[str, tuple[_Check, ...]]]:
    # Landlock before its third version does not see that O_RDONLY with O_TRUNC empties a file, nor does any version
    # judge the access mode 3; and a file without a name is in no folder that can be watched.
    modes = (0, 1, 2, _O_TRUNC | 1, _O_TRUNC | 2)
    yield "open", (_Check(1, modes, bits=3 | _O_TRUNC | _O_TMPFILE),)
    yield "openat", (_Check(2, modes, bits=3 | _O_TRUNC | _O_TMPFILE),)
    yield "clone", (_Check(0, (_CLONE_THREAD,), bits=_CLONE_THREAD | _CLONE_NEW),)
    yield "fcntl", (_Check(1, _FCNTL),)
    yield "ioctl", (_Check(1, _IOCTL),)
    yield "prctl", (_Check(0, _PRCTL),)
    yield "prlimit64", (_Check(0, (0,)),)
    # Streams only, which asyncio wakes itself with: a datagram socket could be sent from to any abstract name.
    yield "socketpair", (_Check(0, (_AF_UNIX,)), _Check(1, (_SOCK_STREAM,), bits=_SOCK_TYPE))
    if network:
        yield "socket", (_Check(0, (_AF_INET, _AF_INET6)), _Check(1, (_SOCK_STREAM, _SOCK_DGRAM), bits=_SOCK_TYPE))


def _when(number: int | None, then: Sequence[bytes]) -> list[bytes]:
    """Skipped for all other calls; nothing where there is no such call."""
    return [] if number is None else [_instruction(_JUMP_IF_EQUAL, number, 0, len(then)), *then]


def _judged(checks: Sequence[_Check]) -> list[bytes]:
    """Only the low halves are looked at: of all these arguments the kernel itself takes no more."""
    code: list[bytes] = []
    for check in checks:
        code.append(_instruction(_LOAD, _ARGUMENTS + 8 * check.argument))
        code.append(_instruction(_AND, check.bits))
        for left, value in zip(range(len(check.among), 0, -1), check.among, strict=True):
            code.append(_instruction(_JUMP_IF_EQUAL, value, left, 0))
        code.append(_end(_ERRNO | errno.EPERM))
    return [*code, _end(_ALLOW)]


def _end(verdict: int) -> bytes:
    return _instruction(_RETURN, verdict)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
