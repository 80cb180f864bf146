"""Ways out of a sandbox, each as the code that tries it, and whether it works where there is no sandbox."""

from __future__ import annotations

import platform
from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    name: str
    code: str
    #: Why it reaches nothing even without a sandbox; empty when it does reach a canary.
    harmless_because: str = ""


#: Number on x86_64, number on aarch64.
_CALLS = {
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "tgkill": (234, 131),
    "ptrace": (101, 117),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "fsopen": (430, 430),
    "unshare": (272, 97),
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "fanotify_init": (300, 262),
    "inotify_init1": (294, 26),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "swapon": (167, 224),
    "personality": (135, 92),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "process_madvise": (440, 440),
    "migrate_pages": (256, 238),
    "setsid": (112, 157),
    "setuid": (105, 146),
    "capset": (126, 91),
    "splice": (275, 76),
    "vmsplice": (278, 75),
    "clone3": (435, 435),
    "execveat": (322, 281),
    "socket": (41, 198),
    "landlock_restrict_self": (446, 446),
    "seccomp": (317, 277),
}
NUMBERS = {name: both[platform.machine() == "aarch64"] for name, both in _CALLS.items()}

_LIBC = "import ctypes, os, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
_VECTORS = f"""{_LIBC}
text = ctypes.create_string_buffer($length)
here = (ctypes.c_size_t * 2)(ctypes.addressof(text), $length)
there = (ctypes.c_size_t * 2)($address, $length)
"""
_SOCKET = "import socket, os\n"


def _told(number: str) -> str:
    """A call that sends a signal, by its number."""
    info = "info = ctypes.create_string_buffer(bytes([10, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]), 128)"
    return f"{_LIBC}{info}\n{number}"


READING = (
    Probe("opens the file", "print(open('$secret').read())"),
    Probe("climbs out of its work folder", "print(open('../' * 20 + '$secret').read())"),
    Probe("makes a symbolic link to it", "import os\nos.symlink('$secret', 'link')\nprint(open('link').read())"),
    Probe(
        "makes a hard link to it", "import os\nos.link('$secret', '$folder/link')\nprint(open('$folder/link').read())"
    ),
    Probe("moves it here", "import os\nos.rename('$secret', os.path.join(os.getcwd(), '$secret') + 'x')"),
    Probe("opens it through its own root", "print(open('/proc/self/root$secret').read())"),
    Probe("opens it through the worker's root", "print(open('/proc/$pid/root$secret').read())"),
    Probe("opens it through the worker's folder", "print(open('/proc/$pid/cwd/secret').read())"),
    Probe("opens it through the worker's descriptor", "print(open('/proc/$pid/fd/$descriptor').read())"),
    Probe(
        "opens it below a path descriptor",
        "import os\nplace = os.open('$folder', os.O_PATH)\nprint(os.read(os.open('secret', 0, dir_fd=place), 99))",
    ),
    Probe(
        "opens the path of a path descriptor",
        "import os\nprint(open(f\"/proc/self/fd/{os.open('$secret', os.O_PATH)}\").read())",
    ),
    Probe("goes to the worker's folder", "import os\nos.chdir('$folder')\nprint(open('secret').read())"),
    Probe("lists the worker's folder", "import os\nprint(os.listdir('$folder'))"),
    Probe("walks all files", "import os\nfor _ in os.walk('$folder/..'):\n    print(_)"),
    Probe("maps it", "import mmap\nfile = open('$secret')\nprint(mmap.mmap(file.fileno(), 0, prot=1)[:99])"),
    Probe("becomes another program", "import os\nos.execv('/bin/cat', ['cat', '$secret'])"),
    Probe("runs another program", "import subprocess\nprint(subprocess.check_output(['cat', '$secret']))"),
    Probe(
        "spawns another program",
        "import os\nos.waitpid(os.posix_spawn('/bin/cat', ['cat', '$secret'], {}), 0)",
    ),
    Probe("runs a shell", "import os\nos.system('cat $secret')"),
    Probe("reads its environment", "import os\nprint(dict(os.environ))"),
    Probe("reads the environment it was started with", "print(open('/proc/self/environ').read())"),
    Probe("reads the worker's environment", "print(open('/proc/$pid/environ').read())"),
    Probe("reads the environment of its parent", "import os\nprint(open(f'/proc/{os.getppid()}/environ').read())"),
    Probe("reads the worker's command line", "print(open('/proc/$pid/cmdline').read())"),
    Probe(
        "looks at all processes",
        "import glob\nfor each in glob.glob('/proc/[0-9]*/cmdline'):\n    print(open(each).read())",
    ),
    Probe(
        "reads inherited descriptors",
        "import os\nfor n in range(3, 300):\n    try: print(os.pread(n, 99, 0))\n    except OSError: pass",
    ),
    Probe(
        "takes the worker's descriptor",
        f"{_LIBC}own = libc.syscall({NUMBERS['pidfd_open']}, $pid, 0)\n"
        f"print(os.pread(libc.syscall({NUMBERS['pidfd_getfd']}, own, $descriptor, 0), 99, 0))",
    ),
    Probe(
        "reads the worker's memory as a file",
        "f = open('/proc/$pid/mem', 'rb', 0)\nf.seek($address)\nprint(f.read($length))",
    ),
    Probe(
        "reads the worker's memory",
        f"{_VECTORS}libc.process_vm_readv($pid, here, 1, there, 1, 0)\nprint(text.raw)",
    ),
    Probe(
        "traces the worker",
        f"{_LIBC}libc.ptrace.argtypes = [ctypes.c_long] * 4\n"
        "libc.ptrace(0x4206, $pid, 0, 0)\nlibc.ptrace(0x4207, $pid, 0, 0)\nos.waitpid($pid, 0x40000000)\n"
        "words = [libc.ptrace(1, $pid, $address + n, 0) for n in range(0, $length, 4)]\n"
        "print(b''.join(word.to_bytes(8, 'little', signed=True)[:4] for word in words))",
    ),
    Probe(
        "attaches shared memory",
        f"{_LIBC}libc.shmat.restype = ctypes.c_void_p\nprint(ctypes.string_at(libc.shmat($shm, None, 0), $length))",
    ),
    Probe(
        "receives from a message queue",
        f"{_LIBC}text = ctypes.create_string_buffer(99)\nlibc.msgrcv($queue, text, 64, 0, 0o4000)\nprint(text.raw)",
    ),
    Probe("opens shared memory", "print(open('$shared').read())"),
)
CHANGING = (
    Probe("overwrites the worker's file", "open('$secret', 'w').write('x')"),
    Probe("appends to it", "open('$secret', 'a').write('x')"),
    Probe("cuts it", "import os\nos.truncate('$secret', 0)"),
    Probe("cuts it by reading", "import os\nos.open('$secret', os.O_RDONLY | os.O_TRUNC)"),
    Probe("deletes it", "import os\nos.unlink('$secret')"),
    Probe("opens it to all", "import os\nos.chmod('$secret', 0o777)"),
    Probe("opens it to all by a descriptor", "import os\nos.fchmod(os.open('$secret', os.O_RDONLY), 0o777)"),
    Probe("changes its time", "import os\nos.utime('$secret', (1, 1))"),
    Probe("makes a file beside it", "open('$folder/new', 'w')"),
    Probe("writes a module that it imports", "open('$seen', 'w').write('x')"),
    Probe("cuts a module that it imports", "import os\nos.truncate('$seen', 0)"),
    Probe("cuts a module that it imports by reading", "import os\nos.open('$seen', os.O_RDONLY | os.O_TRUNC)"),
    Probe("deletes a module that it imports", "import os\nos.unlink('$seen')"),
    Probe("changes the mode of a module", "import os\nos.chmod('$seen', 0)"),
    Probe("changes the mode of a module that it opened", "import os\nos.fchmod(os.open('$seen', os.O_RDONLY), 0)"),
    Probe("changes the time of a module", "import os\nos.utime('$seen', (1, 1))"),
    Probe("changes the time of a module that it opened", "import os\nos.utime(os.open('$seen', os.O_RDONLY), (1, 1))"),
    Probe("marks a module", "import os\nos.setxattr('$seen', 'user.mark', b'x')"),
    Probe("replaces a module", "import os\nopen('new', 'w')\nos.replace('new', '$seen')\nos.unlink('$seen')"),
)
TALKING = (
    Probe("connects by TCP", f"{_SOCKET}socket.create_connection(('127.0.0.1', $tcp), 3)"),
    Probe("connects to all addresses", f"{_SOCKET}socket.create_connection(('0.0.0.0', $tcp), 3)"),
    Probe(
        "connects by IPv6",
        f"{_SOCKET}s = socket.socket(socket.AF_INET6)\ns.connect(('::ffff:127.0.0.1', $tcp))",
        "IPv6 is optional",
    ),
    Probe(
        "connects by MPTCP",
        f"{_SOCKET}s = socket.socket(2, 1, 262)\ns.connect(('127.0.0.1', $tcp))",
        "MPTCP is optional",
    ),
    Probe("opens TCP fast", f"{_SOCKET}socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', $tcp))"),
    Probe("sends by UDP", f"{_SOCKET}socket.socket(2, 2).sendto(b'x', ('127.0.0.1', $udp))"),
    Probe("asks for a name", f"{_SOCKET}s = socket.socket(2, 2)\ns.connect(('127.0.0.1', $udp))\ns.send(bytes(12))"),
    Probe("connects to a socket file", f"{_SOCKET}socket.socket(1).connect('$socket')"),
    Probe("connects to an abstract socket", f"{_SOCKET}socket.socket(1).connect('\\0$abstract')"),
    Probe("sends to a socket file", f"{_SOCKET}socket.socket(1, 2).sendto(b'x', '$datagrams')"),
    Probe("sends to an abstract socket", f"{_SOCKET}socket.socket(1, 2).sendto(b'x', '\\0$abstract-d')"),
    Probe(
        "sends to an abstract socket from a pair", f"{_SOCKET}socket.socketpair(1, 2)[0].sendto(b'x', '\\0$abstract-d')"
    ),
    Probe(
        "turns a pair to a socket file",
        f"{_SOCKET}a, b = socket.socketpair(1, 2)\na.connect('$datagrams')\na.send(b'x')",
    ),
    Probe(
        "leaves a process that connects later",
        f"{_SOCKET}if not os.fork():\n    os.setsid()\n"
        "    if not os.fork():\n"
        "        socket.create_connection(('127.0.0.1', $tcp), 3)\n"
        "    os._exit(0)\nos.wait()\nimport time\ntime.sleep(0.5)",
    ),
)
MEDDLING = (
    Probe("signals the worker", "import os\nos.kill($pid, 10)"),
    Probe("signals its parent", "import os\nos.kill(os.getppid(), 23)"),
    Probe("signals everybody", "import os\nos.kill(-1, 23)", "it would reach the processes of other tests"),
    Probe("signals the worker's group", "import os\nos.killpg($group, 23)"),
    Probe("kills another process", "import os\nos.kill($victim, 9)"),
    Probe(
        "signals by a descriptor",
        f"{_LIBC}own = libc.syscall({NUMBERS['pidfd_open']}, $pid, 0)\n"
        f"libc.syscall({NUMBERS['pidfd_send_signal']}, own, 10, 0, 0)",
    ),
    Probe("signals a thread", f"{_LIBC}libc.syscall({NUMBERS['tgkill']}, $pid, $pid, 10)"),
    Probe("queues a signal", _told(f"libc.syscall({NUMBERS['rt_sigqueueinfo']}, $pid, 10, info)")),
    Probe(
        "lets the kernel signal the worker",
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 8, $pid)\nfcntl.fcntl(r, 10, 10)\n"
        "fcntl.fcntl(r, 4, fcntl.fcntl(r, 3) | 0o20000)\nos.write(w, b'x')",
    ),
    Probe(
        "lets a terminal call signal the worker",
        "import fcntl, os, struct, socket\na, b = socket.socketpair()\n"
        "fcntl.ioctl(a, 0x8901, struct.pack('i', $pid))\nfcntl.ioctl(a, 0x5452, struct.pack('i', 1))\nb.send(b'x')",
    ),
    Probe(
        "limits the worker",
        "import resource as r\nnow, most = r.prlimit($pid, r.RLIMIT_NOFILE)\n"
        "r.prlimit($pid, r.RLIMIT_NOFILE, (now - 1, most))",
    ),
    Probe(
        "moves the worker to one processor", "import os\nos.sched_setaffinity($pid, [min(os.sched_getaffinity($pid))])"
    ),
    Probe("slows the worker", "import os\nos.setpriority(os.PRIO_PROCESS, $pid, 19)"),
)
PROBES = (*READING, *CHANGING, *TALKING, *MEDDLING)
