"""A private RabbitMQ node for tests: own ports, own name, own directories, stopped and started at will."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from ops_core.tests.free_port import free_port


class RabbitmqMissing(Exception):
    """There is no rabbitmq-server on this machine."""


class RabbitmqNode:
    """One node; `start` and `stop` may alternate, its data stay until `close`."""

    def __init__(self, *, frugal: bool = True) -> None:
        """With `frugal`, it takes little of a machine that it shares with tests; else it is as its package sets it up.

        Raises:
            RabbitmqMissing: there is nothing to start.
        """
        self._server = _find("rabbitmq-server")
        self._ctl = _find("rabbitmqctl")
        self._home = Path(tempfile.mkdtemp(prefix="ops-core-rabbit-"))
        self.port, dist, self._epmd_port = free_port(), free_port(), free_port()
        self.name = f"t{self.port}@localhost"
        self._process: subprocess.Popen[bytes] | None = None
        (self._home / "enabled_plugins").write_text("[].\n")
        (self._home / "env.conf").write_text("")
        (self._home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 50MB\nlog.file.level = warning\n"
            + ("vm_memory_high_watermark.absolute = 512MB\n" if frugal else "")
        )
        self._env = {
            **os.environ,
            "HOME": str(self._home),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(dist),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Else it would lie wherever the tests were started, when a node is killed.
            "ERL_CRASH_DUMP": str(self._home / "crash.dump"),
            "RABBITMQ_MNESIA_BASE": str(self._home / "db"),
            "RABBITMQ_LOG_BASE": str(self._home / "log"),
            "RABBITMQ_PID_FILE": str(self._home / "pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._home / "gen"),
            "RABBITMQ_CONFIG_FILE": str(self._home / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self._home / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._home / "enabled_plugins"),
        }
        if frugal:
            # One scheduler that never spins: the tests share two cores with it.
            self._env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "+S 1:1 +sbwt none"

    @property
    def pid(self) -> int:
        """Of the first process of the node, which runs."""
        assert self._process is not None
        return self._process.pid

    def url(self, vhost: str = "/") -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost.replace('/', '%2F')}"

    def new_vhost(self) -> str:
        """The URL of a virtual host that nobody has used."""
        vhost = f"t-{uuid4().hex[:12]}"
        self.ctl("add_vhost", vhost)
        self.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        return self.url(vhost)

    def start(self) -> None:
        """Returns when the node answers; does nothing when it runs."""
        if self._process is not None:
            return
        with (self._home / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [self._server], env=self._env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """End the node in good order; clients lose their connections."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill(self) -> None:
        """`kill -9`, as a power cut would end it; what it had confirmed it still has."""
        if self._process is None:
            return
        process, self._process = self._process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wipe(self) -> None:
        """Delete what it kept, as when its disk is lost; to be called while it does not run."""
        assert self._process is None
        shutil.rmtree(self._home / "db", ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node; returns what it printed."""
        done = subprocess.run(
            [self._ctl, "-q", "-n", self.name, *arguments], env=self._env, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Stop the node and delete what it kept."""
        self.stop()
        subprocess.run(["epmd", "-port", str(self._epmd_port), "-kill"], env=self._env, capture_output=True, timeout=20)
        shutil.rmtree(self._home, ignore_errors=True)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        import pika
        import pika.exceptions

        end = time.monotonic() + 60
        while True:
            try:
                pika.BlockingConnection(pika.URLParameters(self.url())).close()
                return
            except (pika.exceptions.AMQPError, OSError):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self._home / "out").read_text()[-2000:]) from None
                time.sleep(0.1)


def _find(program: str) -> str:
    # The wrappers in /usr/sbin insist on root or the rabbitmq user; the scripts themselves do not.
    candidates = [*glob.glob(f"/usr/lib/rabbitmq/bin/{program}"), shutil.which(program) or ""]
    found = next((c for c in candidates if c and os.access(c, os.X_OK)), None)
    if found is None:
        raise RabbitmqMissing(f"no {program} on this machine (Debian: apt-get install rabbitmq-server)")
    return found
