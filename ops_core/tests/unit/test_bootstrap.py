"""Whole processes put together, and taken apart when one part cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops_core.bootstrap.embedded import Embedded, run_embedded
from ops_core.bootstrap.stop import stop_order, stop_signal
from ops_core.errors import ConfigurationInvalid
from ops_core.settings import Settings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def settings(folder: Path, **changes: object) -> Settings:
    given = {"database_url": f"sqlite:///{folder}/ops.db", "agents_dir": folder / "agents", "port": 0, "grpc_port": 0}
    return Settings(**given | changes)  # type: ignore[arg-type]  # the settings check them themselves


def ours() -> set[str]:
    """The names of threads that a worker starts."""
    return {t.name for t in threading.enumerate() if t.name.startswith(("heartbeat", "consumer-"))}


async def test_when_the_last_door_cannot_open_all_that_had_started_is_stopped(tmp_path: Path, taken_port: int) -> None:
    async def never(_: Embedded) -> bool:
        raise AssertionError("it is not ready")

    before = asyncio.all_tasks()
    with pytest.raises(ConfigurationInvalid, match=str(taken_port)):
        await run_embedded(settings(tmp_path, port=taken_port), on_ready=never)
    assert ours() == set()
    assert asyncio.all_tasks() == before


async def test_an_embedded_system_that_is_told_to_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    """The control of the test above: what it does not see was there."""
    seen: list[set[str]] = []

    async def once(running: Embedded) -> bool:
        seen.append(ours())
        return False

    before = asyncio.all_tasks()
    await run_embedded(settings(tmp_path), on_ready=once)
    assert seen == [{"heartbeat", "consumer-default"}]
    assert ours() == set()
    assert asyncio.all_tasks() == before


async def test_a_worker_under_a_supervisor_heeds_no_signal_before_the_order_has_come() -> None:
    come: list[bool] = []
    with stop_order(lambda: bool(come)) as stop:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.2)
        come.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 10)
        # As when whoever ends a service signals each process of it: it is not killed.
        os.kill(os.getpid(), signal.SIGTERM)


async def test_a_process_of_its_own_heeds_a_signal() -> None:
    """The control of the test above."""
    with stop_signal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 10)
