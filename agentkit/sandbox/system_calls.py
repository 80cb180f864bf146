"""The numbers of Linux's system calls, on the processors that we know."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from agentkit.errors import ConfigurationError

#: Name, number on x86_64, number on aarch64; a dash where there is no such call.
_NUMBERS = """
    read 0 63 | write 1 64 | close 3 57 | fstat 5 80 | lseek 8 62 | pread64 17 67 | pwrite64 18 68 | readv 19 65
    writev 20 66 | preadv 295 69 | pwritev 296 70 | preadv2 327 286 | pwritev2 328 287 | sendfile 40 71
    copy_file_range 326 285 | dup 32 23 | dup2 33 - | dup3 292 24 | close_range 436 436 | pipe 22 - | pipe2 293 59
    fsync 74 82 | fdatasync 75 83 | ftruncate 77 46 | truncate 76 45 | fallocate 285 47 | fadvise64 221 223
    flock 73 32 | fcntl 72 25 | ioctl 16 29 | open 2 - | openat 257 56 | creat 85 -
    mmap 9 222 | mprotect 10 226 | munmap 11 215 | brk 12 214 | mremap 25 216 | msync 26 227 | madvise 28 233
    memfd_create 319 279
    access 21 - | faccessat 269 48 | faccessat2 439 439 | stat 4 - | lstat 6 - | newfstatat 262 79 | statx 332 291
    statfs 137 43 | fstatfs 138 44 | readlink 89 - | readlinkat 267 78 | getdents 78 - | getdents64 217 61
    getcwd 79 17 | chdir 80 49 | fchdir 81 50 | umask 95 166 | mkdir 83 - | mkdirat 258 34 | rmdir 84 -
    unlink 87 - | unlinkat 263 35 | rename 82 - | renameat 264 38 | renameat2 316 276 | link 86 - | linkat 265 37
    symlink 88 - | symlinkat 266 36 | chmod 90 - | fchmod 91 52 | fchmodat 268 53 | fchmodat2 452 452
    chown 92 - | fchown 93 55 | lchown 94 - | fchownat 260 54 | utime 132 - | utimes 235 - | futimesat 261 -
    utimensat 280 88 | mount 165 40 | umount2 166 39 | chroot 161 51 | inotify_init1 294 26 | inotify_add_watch 254 27
    rt_sigaction 13 134 | rt_sigprocmask 14 135 | rt_sigreturn 15 139 | rt_sigpending 127 136
    rt_sigtimedwait 128 137 | rt_sigsuspend 130 133 | sigaltstack 131 132 | signalfd 282 - | signalfd4 289 74
    pause 34 - | alarm 37 - | getitimer 36 102 | setitimer 38 103 | kill 62 129 | tkill 200 130 | tgkill 234 131
    select 23 - | pselect6 270 72 | poll 7 - | ppoll 271 73 | epoll_create 213 - | epoll_create1 291 20
    epoll_ctl 233 21 | epoll_wait 232 - | epoll_pwait 281 22 | epoll_pwait2 441 441 | eventfd 284 - | eventfd2 290 19
    timerfd_create 283 85 | timerfd_settime 286 86 | timerfd_gettime 287 87
    nanosleep 35 101 | clock_nanosleep 230 115 | gettimeofday 96 169 | time 201 - | clock_gettime 228 113
    clock_getres 229 114 | times 100 153
    clone 56 220 | clone3 435 435 | fork 57 - | vfork 58 - | execve 59 221 | execveat 322 281 | exit 60 93
    exit_group 231 94 | wait4 61 260 | waitid 247 95 | futex 202 98 | set_robust_list 273 99 | rseq 334 293
    membarrier 324 283 | restart_syscall 219 128 | sched_yield 24 124 | sched_getaffinity 204 123
    sched_setaffinity 203 122 | getpriority 140 141 | setpriority 141 140 | getcpu 309 168
    getpid 39 172 | getppid 110 173 | gettid 186 178 | getuid 102 174 | geteuid 107 175 | getgid 104 176
    getegid 108 177 | getresuid 118 148 | getresgid 120 150 | getgroups 115 158 | getpgrp 111 - | getpgid 121 155
    getsid 124 156 | setsid 112 157 | setpgid 109 154 | setuid 105 146 | setgid 106 144
    getrlimit 97 163 | setrlimit 160 164 | prlimit64 302 261 | getrusage 98 165 | sysinfo 99 179 | uname 63 160
    getrandom 318 278 | prctl 157 167 | ptrace 101 117 | unshare 272 97 | setns 308 268
    socket 41 198 | socketpair 53 199 | connect 42 203 | bind 49 200 | listen 50 201 | accept 43 202
    accept4 288 242 | sendto 44 206 | recvfrom 45 207 | sendmsg 46 211 | recvmsg 47 212 | sendmmsg 307 269
    recvmmsg 299 243 | shutdown 48 210 | getsockname 51 204 | getpeername 52 205 | getsockopt 55 209
    setsockopt 54 208
"""


@dataclass(frozen=True, slots=True)
class Processor:
    """How one kind of processor calls Linux."""

    name: str
    #: AUDIT_ARCH_… of linux/audit.h.
    audit: int
    numbers: dict[str, int]
    #: Calls from here on are those of x32, the same processor with shorter pointers; None when it has no such.
    first_foreign: int | None


def _numbers(column: int) -> dict[str, int]:
    rows = [entry.split() for line in _NUMBERS.strip().splitlines() for entry in line.split("|")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def processors() -> dict[str, Processor]:
    """All that we know, by the name that the machine gives itself."""
    return {
        "x86_64": Processor("x86_64", 0xC000003E, _numbers(1), first_foreign=0x40000000),
        "aarch64": Processor("aarch64", 0xC00000B7, _numbers(2), first_foreign=None),
    }


def this_processor() -> Processor:
    """
    Raises:
        ConfigurationError: it is one that we do not know.
    """
    machine = platform.machine()
    known = processors()
    if machine not in known:
        raise ConfigurationError(f"a sandbox needs one of the processors {', '.join(known)}, and this is {machine!r}")
    return known[machine]
