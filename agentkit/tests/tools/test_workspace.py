"""A run's files: nothing leads out of their folder, quotas hold, and a write is whole or not there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import BadToolArguments, ConfigurationError, OnUnknown, ToolContext, ToolError, ToolFailed
from agentkit.testing import call_of
from agentkit.tools.workspace import Workspace
from agentkit.tools.workspace_folder import Quota, RunFolder
from agentkit.tools.workspace_paths import folder_name, folder_parts, path_parts

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=30)
SECRET = "the secret outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    return tmp_path / "root"


@pytest.fixture
def inside(root: Path) -> Path:
    """The folder of the run, as somebody else with access to the disk sees it."""
    folder = root / folder_name("run-1")
    folder.mkdir(parents=True)
    return folder


async def use(workspace: Workspace, tool: str, context: ToolContext = CONTEXT, **arguments: Any) -> str:
    return (await workspace.call(call_of(tool, **arguments), context)).content


async def test_what_is_written_can_be_listed_read_found_and_deleted(root: Path) -> None:
    files = Workspace(root)
    assert await use(files, "file_list") == "There are no files."
    assert (
        await use(files, "file_write", path="notes/plan.txt", content="one\ntwö\n")
        == "Wrote 9 bytes to notes/plan.txt."
    )
    assert await use(files, "file_append", path="notes/plan.txt", content="three") == "notes/plan.txt has 14 bytes now."
    assert await use(files, "file_list") == "notes/\nnotes/plan.txt (14 bytes)"
    assert await use(files, "file_read", path="./notes//plan.txt") == "one\ntwö\nthree"
    assert await use(files, "file_find", text="twö") == "notes/plan.txt:2: twö"
    assert await use(files, "file_delete", path="notes/plan.txt") == "Deleted notes/plan.txt."
    assert await use(files, "file_delete", path="notes/") == "Deleted notes/."
    assert await use(files, "file_list") == "There are no files."


async def test_each_run_has_its_own_files(root: Path) -> None:
    files = Workspace(root)
    await use(files, "file_write", path="a.txt", content="mine")
    other = replace(CONTEXT, run_id="run-2")
    assert await use(files, "file_list", other) == "There are no files."
    with pytest.raises(ToolFailed, match="There is no file"):
        await use(files, "file_read", other, path="a.txt")


async def test_runs_of_one_task_can_share_their_files(root: Path) -> None:
    files = Workspace(root, folder_of=lambda context: context.run_id.split("/")[0])
    await use(files, "file_write", replace(CONTEXT, run_id="task-1/1"), path="a.txt", content="kept")
    assert await use(files, "file_read", replace(CONTEXT, run_id="task-1/2"), path="a.txt") == "kept"


@pytest.mark.parametrize(
    "run", ["../outside", "/etc", "..", "", ".", "a/b", "a\x00b", "ä", "x" * 10_000, "\ud800", "~"]
)
async def test_the_id_of_a_run_leads_nowhere_else(root: Path, run: str) -> None:
    await use(Workspace(root), "file_write", replace(CONTEXT, run_id=run), path="a.txt", content="x")
    assert os.listdir(root) == [folder_name(run)]
    assert os.listdir(root.parent / "outside") == ["secret.txt"]


@given(st.text(), st.text())
def test_no_two_runs_have_one_folder_even_where_case_does_not_count(one: str, other: str) -> None:
    assert one == other or folder_name(one).lower() != folder_name(other).lower()


OUTSIDE = [
    "../outside/secret.txt",
    "a/../../outside/secret.txt",
    "..",
    "./..",
    "/etc/passwd",
    "//etc/passwd",
    "~/.ssh/id_rsa",
    "~root/x",
    "..\\outside\\secret.txt",
    "C:\\boot.ini",
    "a\x00b",
    "../outside/secret.txt\x00.txt",
    "a\nb",
    "a\u202eb",
    "",
    ".",
    "/",
    "a/",
    "x" * 201,
    "ü" * 101,
    "/".join(["d"] * 17),
    "a/" * 600 + "b",
    "\ud800",
    " a",
    "a ",
    "a/ /b",
    ".~writing-1",
    "d/.~writing-1",
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("tool", ["file_read", "file_write", "file_append", "file_delete"])
async def test_a_path_that_leads_elsewhere_or_is_none_is_refused(root: Path, tool: str, path: str) -> None:
    content: dict[str, Any] = {"content": "x"} if tool in ("file_write", "file_append") else {}
    if tool == "file_delete" and path == "a/":
        return  # a folder may be deleted, and this one is not there
    with pytest.raises(BadToolArguments):
        await use(Workspace(root), tool, path=path, **content)
    assert os.listdir(root.parent) == ["outside"]


@given(st.text(max_size=40), st.sampled_from(["", "../", "/", "a/", "\u2024\u2024/", "\uff0e\uff0e/", "%2e%2e/"]))
def test_any_text_is_refused_or_parts_without_power(text: str, start: str) -> None:
    try:
        parts = folder_parts(start + text)
    except BadToolArguments:
        return
    for part in parts:
        assert part not in ("", ".", "..")
        assert "/" not in part
        assert "\x00" not in part
        assert len(os.fsencode(part)) <= 200


def test_two_spellings_that_look_the_same_are_one_file() -> None:
    assert path_parts("cafe\u0301.txt") == path_parts("caf\u00e9.txt")


@pytest.mark.parametrize("tool", ["file_read", "file_append"])
@pytest.mark.parametrize("kind", ["link to a file", "hard link", "pipe", "folder"])
async def test_what_is_no_plain_file_is_neither_read_nor_added_to(
    root: Path, inside: Path, kind: str, tool: str
) -> None:
    _make(inside / "x", kind)
    started = time.monotonic()
    content: dict[str, Any] = {"content": "y"} if tool == "file_append" else {}
    with pytest.raises(ToolError, match="'x' is"):
        await use(Workspace(root), tool, path="x", **content)
    assert time.monotonic() - started < 10
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET


def _make(path: Path, kind: str) -> None:
    outside = path.parents[2] / "outside"
    match kind:
        case "link to a file":
            path.symlink_to(outside / "secret.txt")
        case "link to a folder":
            path.symlink_to(outside)
        case "hard link":
            path.hardlink_to(outside / "secret.txt")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()


def test_a_device_is_not_opened() -> None:
    devices = RunFolder(Path("/"), "dev", Quota(10**6, 100, 10**6))
    with pytest.raises(ToolFailed, match="a device"):
        devices.read(("zero",))


@pytest.mark.parametrize("kind", ["link to a file", "pipe", "folder"])
async def test_nothing_is_written_over_what_is_no_file(root: Path, inside: Path, kind: str) -> None:
    _make(inside / "x", kind)
    with pytest.raises(ToolFailed, match="not a file"):
        await use(Workspace(root), "file_write", path="x", content="y")
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET


async def test_a_hard_link_is_replaced_and_what_it_shared_is_left_alone(root: Path, inside: Path) -> None:
    _make(inside / "x", "hard link")
    await use(Workspace(root), "file_write", path="x", content="y")
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET
    assert await use(Workspace(root), "file_read", path="x") == "y"


@pytest.mark.parametrize("tool", ["file_read", "file_write", "file_append", "file_delete"])
async def test_a_folder_that_is_a_link_is_not_gone_into(root: Path, inside: Path, tool: str) -> None:
    _make(inside / "d", "link to a folder")
    content: dict[str, Any] = {"content": "x"} if tool in ("file_write", "file_append") else {}
    with pytest.raises(ToolFailed, match="'d' is not a folder"):
        await use(Workspace(root), tool, path="d/secret.txt", **content)
    assert os.listdir(root.parent / "outside") == ["secret.txt"]
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET


async def test_without_that_care_the_link_leads_outside(inside: Path) -> None:
    _make(inside / "d", "link to a folder")
    assert (inside / "d" / "secret.txt").read_text() == SECRET


async def test_a_run_whose_own_folder_is_a_link_has_no_files(root: Path) -> None:
    os.mkdir(root)
    os.symlink(root.parent / "outside", root / folder_name("run-1"))
    files = Workspace(root)
    for use_it in (
        use(files, "file_list"),
        use(files, "file_read", path="secret.txt"),
        use(files, "file_write", path="x", content="y"),
    ):
        with pytest.raises(ToolFailed):
            await use_it
    assert os.listdir(root.parent / "outside") == ["secret.txt"]


async def test_a_listing_and_a_search_pass_over_links(root: Path, inside: Path) -> None:
    _make(inside / "d", "link to a folder")
    _make(inside / "p", "pipe")
    (inside / "image.bin").write_bytes(b"\xff\xfe secret")
    assert await use(Workspace(root), "file_list") == (
        "d (not a file that can be read)\nimage.bin (9 bytes)\np (not a file that can be read)"
    )
    assert await use(Workspace(root), "file_find", text="secret") == "No line holds it."


async def test_a_link_can_be_deleted_and_what_it_names_is_left_alone(root: Path, inside: Path) -> None:
    _make(inside / "x", "link to a file")
    await use(Workspace(root), "file_delete", path="x")
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET
    assert os.listdir(inside) == []


def test_a_folder_that_turns_into_a_link_again_and_again_never_leads_outside(root: Path, inside: Path) -> None:
    """The race that a check before the opening loses."""
    outside, folder_path = root.parent / "outside", inside / "d"
    done = threading.Event()

    def swap() -> None:
        aside = inside / "aside"
        while not done.is_set():
            # Each step may fail: whoever writes may have made the folder anew.
            for step in (
                lambda: folder_path.rename(aside),
                lambda: folder_path.symlink_to(outside),
                lambda: (aside / "secret.txt").unlink(),
                lambda: aside.rmdir(),
                lambda: folder_path.unlink(),
            ):
                with contextlib.suppress(OSError):
                    step()

    folder = RunFolder(root, folder_name("run-1"), Quota(10**6, 100, 10**6))
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(200):
            with contextlib.suppress(ToolError, OSError):
                folder.write(("d", "secret.txt"), b"mine")
                assert folder.read(("d", "secret.txt")) == b"mine"
    finally:
        done.set()
        swapper.join()
    assert os.listdir(outside) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == SECRET


async def test_a_file_may_not_be_larger_than_its_limit(root: Path) -> None:
    files = Workspace(root, max_file_bytes=10)
    await use(files, "file_write", path="a", content="x" * 10)
    for tool in ("file_write", "file_append"):
        with pytest.raises(ToolFailed, match="A file may have 10 bytes, not 11"):
            await use(files, tool, path="a", content="x" * (11 if tool == "file_write" else 1))
    assert await use(files, "file_read", path="a") == "x" * 10


async def test_all_files_together_may_not_be_larger_than_the_limit(root: Path) -> None:
    files = Workspace(root, max_bytes=10)
    await use(files, "file_write", path="a", content="x" * 6)
    with pytest.raises(ToolFailed, match="room for 4 more bytes, not for 5"):
        await use(files, "file_write", path="b", content="x" * 5)
    await use(files, "file_write", path="a", content="x" * 10)
    await use(files, "file_delete", path="a")
    await use(files, "file_write", path="b", content="x" * 10)


async def test_files_and_folders_are_counted(root: Path) -> None:
    files = Workspace(root, max_files=3)
    await use(files, "file_write", path="a/b/c", content="")
    with pytest.raises(ToolFailed, match="3 files and folders"):
        await use(files, "file_write", path="d", content="")
    await use(files, "file_write", path="a/b/c", content="again")
    with pytest.raises(ToolFailed):
        await use(files, "file_write", path="e/f", content="")
    assert await use(files, "file_list") == "a/\na/b/\na/b/c (5 bytes)"


async def test_quotas_hold_while_many_write_at_once(root: Path) -> None:
    files = [Workspace(root, max_bytes=1_000, max_files=8) for _ in range(4)]
    calls = [use(files[n % 4], "file_write", path=f"f{n}", content="x" * 100) for n in range(40)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, str) for each in results) == 8
    assert all(isinstance(each, (str, ToolFailed)) for each in results)
    assert len((await use(files[0], "file_list")).splitlines()) == 8


async def test_the_bytes_hold_while_many_add_to_one_file(root: Path) -> None:
    files = Workspace(root, max_bytes=500)
    calls = [use(files, "file_append", path="log", content="x" * 50) for _ in range(20)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert await use(files, "file_read", path="log") == "x" * 500


def test_quotas_hold_while_processes_write_at_once(root: Path) -> None:
    script = f"""
from pathlib import Path
from agentkit.errors import ToolFailed
from agentkit.tools.workspace_folder import Quota, RunFolder
import os
folder = RunFolder(Path({str(root)!r}), "run", Quota(10_000, 10, 1_000))
for n in range(20):
    try:
        folder.write((f"{{os.getpid()}}-{{n}}",), b"x")
    except ToolFailed:
        pass
"""
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert len(os.listdir(root / "run")) == 10


def _started(script: str, *, says: bytes) -> subprocess.Popen[bytes]:
    started = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == says
    return started


async def test_a_process_that_holds_the_lock_and_dies_lets_go(root: Path, inside: Path) -> None:
    script = f"""
import fcntl, os, time
folder = os.open({str(inside)!r}, os.O_RDONLY)
fcntl.flock(folder, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(600)
"""
    holder = _started(script, says=b"locked\n")
    writing = asyncio.create_task(use(Workspace(root), "file_write", path="a", content="x"))
    done, _ = await asyncio.wait([writing], timeout=0.3)
    assert not done
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert await writing == "Wrote 1 bytes to a."


def test_a_write_that_is_killed_leaves_the_old_content_or_the_new(root: Path) -> None:
    script = f"""
from pathlib import Path
from agentkit.tools.workspace_folder import Quota, RunFolder
folder = RunFolder(Path({str(root)!r}), "run", Quota(10**9, 10, 10**9))
folder.write(("a",), b"0" * 500_000)
print("ready", flush=True)
while True:
    for digit in b"123":
        folder.write(("a",), bytes([digit]) * 500_000)
"""
    folder = RunFolder(root, "run", Quota(10**9, 10, 10**9))
    for delay in (0.005, 0.02, 0.05):
        writer = _started(script, says=b"ready\n")
        time.sleep(delay)  # any moment is a good one to die
        writer.kill()
        writer.communicate()
        content = folder.read(("a",))
        assert content == content[:1] * 500_000
    folder.write(("b",), b"x")
    assert sorted(os.listdir(root / "run")) == ["a", "b"]


async def test_what_a_dead_process_left_half_written_is_not_listed_and_does_not_hold_up_a_deletion(
    root: Path, inside: Path
) -> None:
    (inside / "d").mkdir()
    (inside / "d" / ".~writing-1").write_text("half")
    assert await use(Workspace(root), "file_list") == "d/"
    assert await use(Workspace(root), "file_delete", path="d") == "Deleted d."


async def test_writing_and_deleting_again_is_harmless(root: Path) -> None:
    files = Workspace(root)
    for _ in range(2):
        await use(files, "file_write", path="a/b", content="same")
    assert await use(files, "file_read", path="a/b") == "same"
    await use(files, "file_delete", path="a/b")
    assert await use(files, "file_delete", path="a/b") == "a/b was not there."
    assert await use(files, "file_delete", path="no/such/folder") == "no/such/folder was not there."


async def test_only_what_is_harmless_twice_is_called_again_by_itself(root: Path) -> None:
    specs = {spec.name: spec for spec in await Workspace(root).specs()}
    assert {name for name, spec in specs.items() if not spec.side_effect} == {"file_list", "file_read", "file_find"}
    assert {name: spec.on_unknown for name, spec in specs.items() if spec.side_effect} == {
        "file_write": OnUnknown.retry,
        "file_append": OnUnknown.ask,
        "file_delete": OnUnknown.retry,
    }


async def test_a_folder_with_something_in_it_is_not_deleted(root: Path) -> None:
    files = Workspace(root)
    await use(files, "file_write", path="a/b", content="x")
    with pytest.raises(ToolFailed, match="'a' is not empty"):
        await use(files, "file_delete", path="a")


async def test_a_long_file_is_read_in_parts_that_together_are_the_file(root: Path) -> None:
    files = Workspace(root)
    whole = "".join(f"{n}ü" for n in range(1_000))
    await use(files, "file_write", path="a", content=whole)
    first = await use(files, "file_read", path="a", max_characters=3_000)
    assert first == f"{whole[:3_000]}\n[characters 0 to 3000 of {len(whole)}; ask with offset=3000 for more]"
    assert await use(files, "file_read", path="a", offset=3_000) == whole[3_000:]
    assert await use(files, "file_read", path="a", offset=9_999) == (
        f"[nothing to show: the file has {len(whole)} characters]"
    )


async def test_binary_is_not_read_as_text(root: Path, inside: Path) -> None:
    (inside / "a.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ToolFailed, match="binary data"):
        await use(Workspace(root), "file_read", path="a.png")


async def test_a_file_that_somebody_else_made_too_large_is_not_read(root: Path, inside: Path) -> None:
    (inside / "a").write_bytes(b"x" * 101)
    with pytest.raises(ToolFailed, match="larger than 100 bytes"):
        await use(Workspace(root, max_file_bytes=100), "file_read", path="a")


async def test_a_search_shows_so_many_lines_and_cuts_them(root: Path) -> None:
    files = Workspace(root)
    await use(files, "file_write", path="a", content=("x" * 1_000 + "\n") * 300)
    lines = (await use(files, "file_find", text="xx", folder="")).splitlines()
    assert len(lines) == 101
    assert lines[0] == "a:1: " + "x" * 200
    assert lines[-1].startswith("[more lines match")


async def test_a_search_keeps_to_its_folder(root: Path) -> None:
    files = Workspace(root)
    for path in ("a/x", "ab/x", "a/b/x"):
        await use(files, "file_write", path=path, content="here")
    assert await use(files, "file_find", text="here", folder="a") == "a/b/x:1: here\na/x:1: here"
    with pytest.raises(ToolFailed, match="no folder 'none'"):
        await use(files, "file_list", folder="none")


async def test_text_that_is_not_unicode_is_refused(root: Path) -> None:
    with pytest.raises(ToolError):
        await use(Workspace(root), "file_write", path="a", content="\ud800")


async def test_a_failure_of_the_disk_is_told_without_the_paths_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolFailed) as failed:
        await use(Workspace(tmp_path / "file"), "file_write", path="a", content="x")
    assert str(tmp_path) not in str(failed.value)


def test_limits_of_nothing_are_an_error_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Workspace(tmp_path, max_files=0)


async def test_no_descriptor_is_left_open(root: Path) -> None:
    files = Workspace(root)
    await use(files, "file_write", path="a/b/c", content="x")
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        await use(files, "file_read", path="a/b/c")
        await use(files, "file_list")
        with pytest.raises(ToolFailed):
            await use(files, "file_read", path="a/none/c")
        with pytest.raises(ToolFailed):
            await use(files, "file_write", path="a/b/c/d", content="x")
    assert len(os.listdir("/dev/fd")) <= before
