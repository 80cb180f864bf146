"""Restate, a durable execution server with a log of its own, and its Python SDK, served as its guide of serving shows.

The server is the one of the npm package; one node, its default configuration but for addresses and telemetry. Two
Hypercorn worker processes serve the task. It stores nothing in PostgreSQL: what is counted is executions, which come
before the durable end. Its server takes tasks only once it knows a worker, so nothing is submitted without workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import driver
import httpx
import restate

REQUIREMENTS = ["restate-sdk[client,serde]>=1.3,<2", "hypercorn>=0.18,<0.19"]
KEEPS = "a journal: inputs, the result, for a day"
COUNT_DONE = None
IS_DONE = None
WORKS = ["end-to-end", "latency"]

SERVER = "@restatedev/restate-server@1.7"
# Beside the libraries of this environment: it is downloaded once.
SERVER_HOME = Path(sys.prefix) / "restate-server"
PORTS = driver.FOLDER / "restate-ports.json"

noop_service = restate.Service("Noop")


@noop_service.handler()
async def noop(_: restate.Context) -> int:
    driver.executed()
    return 0


app = restate.app(services=[noop_service])


def prepare() -> None:
    """Downloads the server if need be; chooses addresses, and writes them into both configurations."""
    if not SERVER_HOME.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is missing, which brings Restate's server")
        partly = SERVER_HOME.with_name(f"restate-server-{os.getpid()}")
        command = [npm, "install", "--silent", "--ignore-scripts", "--prefix", str(partly), SERVER]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        partly.rename(SERVER_HOME)
    ports = dict(zip(("ingress", "admin", "node", "service"), _free_ports(4), strict=True))
    PORTS.write_text(json.dumps(ports))
    (driver.FOLDER / "restate.toml").write_text(
        f'base-dir = "{driver.FOLDER / "restate-data"}"\n'
        'node-name = "bench"\n'
        'listen-mode = "tcp"\n'
        'bind-ip = "127.0.0.1"\n'
        f"bind-port = {ports['node']}\n"
        "disable-telemetry = true\n"
        f"[ingress]\nbind-port = {ports['ingress']}\n"
        f"[admin]\nbind-port = {ports['admin']}\n"
    )
    # As its guide recommends for production.
    (driver.FOLDER / "hypercorn.toml").write_text(
        f'bind = "127.0.0.1:{ports["service"]}"\n'
        "workers = 2\n"
        "h2_max_concurrent_streams = 2147483647\n"
        "keep_alive_max_requests = 2147483647\n"
        "keep_alive_timeout = 2147483647\n"
    )


def server_commands() -> list[list[str]]:
    system, machine = sys.platform, {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    binary = SERVER_HOME / f"node_modules/@restatedev/restate-server-{system}-{machine}/bin/restate-server"
    return [[str(binary), "--config-file", str(driver.FOLDER / "restate.toml")]]


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "hypercorn", "--config", str(driver.FOLDER / "hypercorn.toml"), "peer_restate:app"]]


@asynccontextmanager
async def client() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Registers the workers; gives `submit`, which returns when the server has stored the invocation."""
    ports = json.loads(PORTS.read_text())
    await _register(ports["admin"], ports["service"])
    async with restate.create_client(f"http://127.0.0.1:{ports['ingress']}") as ingress:

        async def submit() -> str:
            return (await ingress.service_send(noop, arg=None)).invocation_id

        yield submit


async def _register(admin: int, service: int) -> None:
    """Once server and workers are up.

    Raises:
        TimeoutError: they are not within a minute.
    """
    async with asyncio.timeout(60), httpx.AsyncClient() as http:
        while True:
            try:
                answer = await http.post(
                    f"http://127.0.0.1:{admin}/deployments", json={"uri": f"http://127.0.0.1:{service}"}, timeout=30
                )
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                return
            await asyncio.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Different ones: all are held until all are chosen."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
