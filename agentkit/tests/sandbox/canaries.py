"""What a worker has that no code inside a sandbox may reach, and how the worker knows that it was reached."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_PR_SET_PTRACER = 0x59616D61
_ANY = ctypes.c_ulong(-1)
#: Signals that a probe may send; none of them ends who does not handle it otherwise than by us.
SIGNALS = (signal.SIGUSR1, signal.SIGURG, signal.SIGIO)


class _Message(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_long), ("text", ctypes.c_char * 64))


class Canaries:
    """Open it in a running event loop. `reached` are the names of all that was touched since `restore`."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.reached: set[str] = set()
        self.folder = Path(tempfile.mkdtemp(prefix="worker-"))
        self.secret = self.folder / "secret"
        self.package = self.folder / "seen" / "seen_by_the_sandbox"
        self.seen = self.package / "__init__.py"
        self._memory = ctypes.create_string_buffer(token.encode())
        self._states: dict[Path, object] = {}
        self._victim: subprocess.Popen[bytes] | None = None

    async def open(self) -> None:
        # Of others too, so that what keeps them out is the sandbox.
        self.folder.chmod(0o755)
        self.package.mkdir(parents=True)
        sys.path.append(str(self.package.parent))
        (self.folder / self._token).touch()
        self.restore()
        self._descriptor = os.open(self.secret, os.O_RDONLY)
        os.set_inheritable(self._descriptor, True)
        os.chdir(self.folder)
        self._share_memory()
        # Where the kernel lets only parents trace (Yama), as if it did not.
        _LIBC.prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
        for number in SIGNALS:
            signal.signal(number, lambda *_: self.reached.add("signal"))
        await self._listen()
        self._own = self._resources()

    def places(self) -> dict[str, object]:
        """Where a probe finds them: a probe may know everything but the token."""
        assert self._victim is not None
        return {
            "secret": str(self.secret),
            "folder": str(self.folder),
            "seen": str(self.seen),
            "pid": os.getpid(),
            "group": os.getpgid(0),
            "victim": self._victim.pid,
            "descriptor": self._descriptor,
            "address": ctypes.addressof(self._memory),
            "length": len(self._token),
            "shm": self._segment,
            "queue": self._queue,
            "shared": str(self._shared),
        } | self._ports

    def look(self, output: str) -> list[str]:
        """All that was reached, of which the output may tell."""
        if self._token in output:
            self.reached.add("secret")
        for path in (self.secret, self.seen):
            if not path.exists() or self._state(path) != self._states[path]:
                self.reached.add("file")
        if {each.name for each in self.folder.iterdir()} != {"secret", "seen", self._token, "socket", "datagrams"}:
            self.reached.add("folder")
        assert self._victim is not None
        if _is_hit(self._victim):
            self.reached.add("victim")
        if self._resources() != self._own:
            self.reached.add("resources")
        return sorted(self.reached)

    def restore(self) -> None:
        """As if nobody had been there."""
        for each in self.folder.iterdir():
            if each.name not in {"secret", "seen", self._token, "socket", "datagrams"}:
                each.unlink()
        for path in (self.secret, self.seen):
            if not path.exists() or self._state(path) != self._states.get(path):
                # At once, not bit by bit: interpreters import it at any time.
                new = path.with_name(f"new-{path.name}")
                new.write_text(self._token if path == self.secret else "x = 1\n")
                new.chmod(0o644)
                new.replace(path)
                self._states[path] = self._state(path)
        if self._victim is not None and "victim" in self.reached:
            self._victim.wait()
        if self._victim is None or self._victim.poll() is not None:
            self._victim = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if hasattr(self, "_own") and self._resources() != self._own:
            files, _, processors = self._own
            resource.setrlimit(resource.RLIMIT_NOFILE, files)
            os.sched_setaffinity(0, processors)
            # An ordinary user cannot take back that it was slowed.
            self._own = self._resources()
        self.reached.clear()

    def close(self) -> None:
        if self._victim is not None:
            self._victim.kill()
            self._victim.wait()
        _LIBC.shmctl(self._segment, _IPC_RMID, None)
        _LIBC.msgctl(self._queue, _IPC_RMID, None)
        self._shared.unlink()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def _state(self, path: Path) -> object:
        about = path.stat()
        text = path.read_text() if about.st_mode & 0o400 else None
        return about.st_ino, about.st_mode, about.st_mtime_ns, text, os.listxattr(path)

    def _resources(self) -> tuple[tuple[int, int], int, set[int]]:
        return resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)

    def _share_memory(self) -> None:
        _LIBC.shmat.restype = ctypes.c_void_p
        self._segment = _LIBC.shmget(0, 4096, _IPC_CREAT | 0o600)
        ctypes.memmove(_LIBC.shmat(self._segment, None, 0), self._token.encode(), len(self._token))
        self._queue = _LIBC.msgget(0, _IPC_CREAT | 0o600)
        message = _Message(1, self._token.encode())
        _LIBC.msgsnd(self._queue, ctypes.byref(message), 64, 0)
        self._shared = Path("/dev/shm", f"canary-{os.getpid()}")
        self._shared.write_text(self._token)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        abstract = f"canary-{os.getpid()}"

        def heard(name: str) -> asyncio.Protocol:
            return _Heard(lambda: self.reached.add(name))

        def told(name: str) -> asyncio.DatagramProtocol:
            return _Told(lambda: self.reached.add(name))

        tcp = await loop.create_server(lambda: heard("tcp"), "127.0.0.1", 0)
        udp, _ = await loop.create_datagram_endpoint(lambda: told("udp"), ("127.0.0.1", 0))
        await loop.create_unix_server(lambda: heard("unix"), self.folder / "socket")
        await loop.create_unix_server(lambda: heard("abstract"), f"\0{abstract}")
        for address, name in ((str(self.folder / "datagrams"), "datagrams"), (f"\0{abstract}-d", "abstract datagrams")):
            own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            own.bind(address)
            await loop.create_datagram_endpoint(lambda name=name: told(name), sock=own)  # type: ignore[misc]
        self._ports = {
            "tcp": tcp.sockets[0].getsockname()[1],
            "udp": udp.get_extra_info("sockname")[1],
            "socket": str(self.folder / "socket"),
            "datagrams": str(self.folder / "datagrams"),
            "abstract": abstract,
        }


def _is_hit(victim: subprocess.Popen[bytes]) -> bool:
    """Whether it is dead, or will be: a signal waits for it as soon as it was sent."""
    if victim.poll() is None and "ShdPnd:\t0000000000000000" in Path(f"/proc/{victim.pid}/status").read_text():
        with contextlib.suppress(subprocess.TimeoutExpired):
            victim.wait(timeout=0.01)
        return victim.returncode is not None
    return True


class _Heard(asyncio.Protocol):
    def __init__(self, tell: object) -> None:
        self._tell = tell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tell()  # type: ignore[operator]
        transport.close()


class _Told(asyncio.DatagramProtocol):
    def __init__(self, tell: object) -> None:
        self._tell = tell

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._tell()  # type: ignore[operator]
