"""What installed packages offer through entry points; each package here has its metadata and its code on the path."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentkit import ConfigurationError, FunctionTool
from agentkit.plugins import BrokenPlugin, Plugin, PluginKind, find_plugins, load_plugins

#: Makes a package: name, what its entry points say, the code of its module, and its version.
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def make(name: str, entry_points: str | bytes, code: str = "", version: str = "1.0", folder: str = "") -> None:
        place = tmp_path / folder
        info = place / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        text = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        (info / "entry_points.txt").write_bytes(text)
        (place / f"{name}.py").write_text(code)
        modules.append(name)

    yield make
    for name in modules:
        sys.modules.pop(name, None)


TOOLS = """
from agentkit import tool

@tool(side_effect=False)
def shout(text: str) -> str:
    return text.upper()

def plain(n: int) -> int:
    return n

BOTH = [shout, plain]
"""


def reasons(broken: tuple[BrokenPlugin, ...]) -> dict[str, str]:
    return {plugin.name: plugin.reason for plugin in broken}


def test_nothing_is_found_where_nothing_is_installed() -> None:
    assert find_plugins().broken == ()


def test_plugins_of_every_kind_are_found_with_their_package(install: Install) -> None:
    install("pets", "".join(f"[{kind.value}]\nmine = pets:make\n" for kind in PluginKind))
    found = [plugin for plugin in find_plugins().found if plugin.package == "pets 1.0"]
    assert [(plugin.kind, plugin.name, plugin.target) for plugin in found] == [
        (kind, "mine", "pets:make") for kind in sorted(PluginKind)
    ]


def test_only_the_kinds_asked_for_are_found(install: Install) -> None:
    install(
        "pets",
        "[agentkit.llms]\nmine = pets:make\n[agentkit.planners]\nother = pets:make\n[console_scripts]\nx = y:z\n",
    )
    assert [plugin.name for plugin in find_plugins([PluginKind.planners]).found] == ["other"]


def test_finding_imports_nothing(install: Install) -> None:
    install("pets", "[agentkit.tools]\nmine = pets:shout\n", "raise AssertionError('imported')")
    assert "mine" in [plugin.name for plugin in find_plugins().found]
    assert "pets" not in sys.modules


@pytest.mark.parametrize(("target", "types"), [("shout", [FunctionTool]), ("plain", ["function"]), ("BOTH", [list])])
def test_a_good_plugin_is_loaded(install: Install, target: str, types: list[object]) -> None:
    install("pets", f"[agentkit.tools]\nmine = pets:{target}\n", TOOLS)
    loaded = load_plugins([PluginKind.tools])
    assert loaded.broken == ()
    ((plugin, value),) = loaded.loaded
    assert plugin == Plugin(PluginKind.tools, "mine", f"pets:{target}", "pets 1.0")
    assert type(value) in types or type(value).__name__ in types


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no key')", "RuntimeError: no key"),
        ("import there_is_no_such_module", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd"),
        ("def f(): f()\nf()", "RecursionError"),
        ("other = 1", "AttributeError"),
        ("make = 3", "is int, which cannot be called"),
    ],
)
def test_a_plugin_that_fails_at_import_is_reported_with_the_reason_and_the_others_are_loaded(
    install: Install, code: str, reason: str
) -> None:
    install("bad", "[agentkit.llms]\nbad = bad:make\n", code)
    install("good", "[agentkit.llms]\ngood = good:make\n", "def make(): ...")
    plugins = load_plugins([PluginKind.llms])
    assert [plugin.name for plugin, _ in plugins.loaded] == ["good"]
    assert reason in reasons(plugins.broken)["bad"]


def test_the_negative_control_such_a_plugin_ends_the_process_of_whoever_loads_it_plainly(install: Install) -> None:
    import importlib.metadata

    install("bad", "[agentkit.llms]\nbad = bad:make\n", "raise SystemExit('bye')")
    (point,) = importlib.metadata.entry_points(group="agentkit.llms", name="bad")
    with pytest.raises(SystemExit):
        point.load()


def test_an_import_that_takes_long_is_given_up_and_reported(install: Install) -> None:
    install("slow", "[agentkit.memories]\nslow = slow:make\n", "import test_plugins_gate as gate; gate.opened.wait(60)")
    gate = type(sys)("test_plugins_gate")
    gate.opened = threading.Event()  # type: ignore[attr-defined]  # what the slow module waits for
    sys.modules["test_plugins_gate"] = gate
    try:
        started = time.monotonic()
        plugins = load_plugins([PluginKind.memories], timeout_seconds=0.1)
        assert time.monotonic() - started < 30
        assert reasons(plugins.broken) == {"slow": "importing it takes longer than 0.1 s"}
    finally:
        gate.opened.set()
        for thread in threading.enumerate():
            if thread.name == "plugin-import":
                thread.join(10)
        del sys.modules["test_plugins_gate"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("pets:nothing", "AttributeError"),
        ("pets:NUMBER", "is int, not a function, a list of them or a set of tools"),
        ("pets:MIXED", "is str, not a function, a list of them or a set of tools"),
        ("not a target", "AttributeError"),
    ],
)
def test_what_is_no_tool_is_reported(install: Install, target: str, reason: str) -> None:
    install("pets", f"[agentkit.tools]\nmine = {target}\n", "NUMBER = 3\nMIXED = [print, 'x']")
    assert reason in reasons(load_plugins([PluginKind.tools]).broken)["mine"]


def test_loading_one_plugin_raises_what_is_wrong_with_it(install: Install) -> None:
    install("pets", "[agentkit.llms]\nmine = pets:nothing\n")
    (plugin,) = find_plugins([PluginKind.llms]).found
    with pytest.raises(ConfigurationError, match="has no attribute 'nothing'"):
        plugin.load()


def test_of_two_plugins_of_one_name_the_first_is_kept_and_the_other_reported(install: Install) -> None:
    install("beta", "[agentkit.llms]\nmine = beta:make\n")
    install("alpha", "[agentkit.llms]\nmine = alpha:make\n")
    plugins = find_plugins([PluginKind.llms])
    assert [plugin.package for plugin in plugins.found] == ["alpha 1.0"]
    assert plugins.broken == (
        BrokenPlugin(PluginKind.llms, "mine", "beta 1.0", "alpha 1.0 has a plug-in named 'mine' too"),
    )


def test_two_packages_may_call_their_tools_plugin_the_same(install: Install) -> None:
    for name in ("alpha", "beta"):
        install(name, f"[agentkit.tools]\ntools = {name}:make\n")
    plugins = find_plugins([PluginKind.tools])
    assert ([plugin.package for plugin in plugins.found], plugins.broken) == (["alpha 1.0", "beta 1.0"], ())


def test_the_same_name_in_two_kinds_is_no_conflict(install: Install) -> None:
    install("pets", "[agentkit.llms]\nmine = pets:a\n[agentkit.planners]\nmine = pets:b\n")
    assert find_plugins().broken == ()


@pytest.mark.parametrize(
    "entry_points", ["[agentkit.tools]\nno equals sign\n", b"[agentkit.tools]\nmine = \xff\xfe:x\n"]
)
def test_a_package_whose_entry_points_cannot_be_read_does_not_hide_the_others(
    install: Install, entry_points: str | bytes
) -> None:
    install("bad", entry_points)
    install("good", "[agentkit.tools]\ngood = good:make\n")
    plugins = find_plugins()
    assert "good" in [plugin.name for plugin in plugins.found]
    (broken,) = plugins.broken
    assert (broken.kind, "its entry points cannot be read" in broken.reason) == (None, True)


def test_an_older_installation_further_down_the_path_offers_nothing(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("pets", "[agentkit.llms]\nold = pets:make\n", version="0.9", folder="older")
    install("pets", "[agentkit.llms]\nnew = pets:make\n", version="1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "older")])
    assert [plugin.name for plugin in find_plugins([PluginKind.llms]).found] == ["new"]
