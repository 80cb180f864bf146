"""The strongest sandbox that holds is found by trying, and without one nothing is run."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import struct
import sys
from pathlib import Path

import pytest

from agentkit import ConfigurationError
from agentkit.sandbox.base import Ending, SandboxLimits
from agentkit.sandbox.bubblewrap import Bubblewrap
from agentkit.sandbox.landlock import Landlock
from agentkit.sandbox.mechanism import Launch, Setting
from agentkit.sandbox.select import open_sandbox
from agentkit.tests.sandbox.strongest import sandbox_of_tests


class Closed(Bubblewrap):
    name = "closed"
    remedy = "open it"

    def launch(self, setting: Setting) -> Launch:
        raise ConfigurationError("it is closed")


class WithoutFilter(Bubblewrap):
    """Allows every system call."""

    def launch(self, setting: Setting) -> Launch:
        launch = super().launch(setting)
        allow_all = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
        return dataclasses.replace(launch, orders=launch.orders | {"filter": allow_all.hex()})


class WithoutWalls(Bubblewrap):
    """Shows every file."""

    def launch(self, setting: Setting) -> Launch:
        launch = super().launch(setting)
        return dataclasses.replace(
            launch, command=(launch.command[0], "--ro-bind", "/tmp", "/tmp", *launch.command[1:])
        )


@pytest.fixture
async def bubblewrap_works() -> None:
    async with sandbox_of_tests(waiting=0, mechanisms=[Bubblewrap()]):
        return


async def test_the_next_one_is_taken_when_one_does_not_work(bubblewrap_works: None) -> None:
    async with open_sandbox(mechanisms=[Closed(), Bubblewrap()]) as sandbox:
        assert sandbox.mechanism == "bubblewrap"


async def test_without_any_it_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"closed does not work \(it is closed\): open it"):
        async with open_sandbox(mechanisms=[Closed()]):
            pass


async def test_without_the_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="apt install bubblewrap"):
        async with open_sandbox(mechanisms=[Bubblewrap()]):
            pass


async def test_without_landlock_it_says_what_kernel_to_run() -> None:
    with pytest.raises(ConfigurationError, match=r"Linux 5\.13 or newer"):
        async with open_sandbox(mechanisms=[Landlock(newest_version=0)]):
            pass


async def test_one_without_a_filter_is_not_taken(bubblewrap_works: None) -> None:
    with pytest.raises(ConfigurationError, match="filter of system calls does not hold"):
        async with open_sandbox(mechanisms=[WithoutFilter()]):
            pass


async def test_one_that_shows_the_workers_files_is_not_taken(bubblewrap_works: None) -> None:
    with pytest.raises(ConfigurationError, match="read a file of the worker"):
        async with open_sandbox(mechanisms=[WithoutWalls()]):
            pass


async def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no module 'nothing_of_that_name'"):
        async with open_sandbox(modules=["nothing_of_that_name.inner"]):
            pass


async def test_a_module_that_cannot_be_imported_inside_is_told(
    bubblewrap_works: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match="No module named 'nothing_of_that_name'"):
        async with open_sandbox(modules=["needs_more"]):
            pass


async def test_a_module_is_imported_before_a_job_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "__init__.py").write_text("")
    (tmp_path / "early" / "inner.py").write_text("value = 42")
    (tmp_path / "beside.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with sandbox_of_tests(modules=["early.inner"]) as sandbox:
        loaded = await sandbox.run("import sys\nsys.modules['early.inner'].value")
        beside = await sandbox.run("import beside")
    assert (loaded.value, beside.ending) == ("42", Ending.raised)


async def test_installed_packages_are_seen_when_they_are_asked_for() -> None:
    async with sandbox_of_tests(site_packages=True) as sandbox:
        assert (await sandbox.run("import pydantic\npydantic.__name__")).value == "'pydantic'"


async def test_a_granted_network_is_there_and_sockets_of_this_machine_are_not() -> None:
    async with sandbox_of_tests(SandboxLimits(seconds=30, network=True)) as sandbox:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind(f"\0granted-{server.getsockname()[1]}")
            abstract.listen()
            port = server.getsockname()[1]
            tcp = await sandbox.run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5).close()")
            unix = await sandbox.run(f"import socket\nsocket.socket(socket.AF_UNIX).connect('\\0granted-{port}')")
            server.settimeout(5)
            (await asyncio.to_thread(server.accept))[0].close()
    assert (tcp.ending, unix.ending) == (Ending.finished, Ending.raised)


@pytest.mark.skipif(sys.platform.startswith("linux"), reason="on Linux there are sandboxes")
async def test_elsewhere_it_says_that_linux_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="needs Linux"):
        async with open_sandbox():
            pass
