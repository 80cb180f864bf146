"""What installed packages offer to agents through entry points: tools, model clients, planners, memories."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from agentkit.errors import ConfigurationError
from agentkit.observations import said_by
from agentkit.tools.base import BaseToolManager

#: How long one import may take.
IMPORT_SECONDS = 10.0
#: What the file of a package that offers us something holds.
_MARK = "[agentkit."


class PluginKind(StrEnum):
    """What a plug-in is; the value is its group of entry points."""

    #: A typed function, one decorated with `@tool`, a list of such, or a BaseToolManager.
    tools = "agentkit.tools"
    #: Makes a BaseLlmClient when it is called.
    llms = "agentkit.llms"
    #: Makes a BasePlanner when it is called.
    planners = "agentkit.planners"
    #: Makes a BaseMemory when it is called.
    memories = "agentkit.memories"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point, not yet imported."""

    kind: PluginKind
    name: str
    #: `module:object`.
    target: str
    #: Name and version of the installed package.
    package: str

    def load(self, *, timeout_seconds: float = IMPORT_SECONDS) -> object:
        """Import the object. Imported in a thread: one that takes too long goes on there, and holds nobody up.

        Raises:
            ConfigurationError: the import failed or took too long, or the object is nothing of this kind.
        """
        found = _within(timeout_seconds, self._import)
        if problem := _misshapen(self.kind, found):
            raise ConfigurationError(f"{self.target} {problem}")
        return found

    def _import(self) -> object:
        return importlib.metadata.EntryPoint(self.name, self.target, self.kind.value).load()


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plug-in that cannot be used, or a package whose plug-ins cannot be read."""

    #: None of a package.
    kind: PluginKind | None
    name: str
    package: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundPlugins:
    """What packages offer, nothing of it imported, and what cannot be used for its name alone."""

    found: tuple[Plugin, ...]
    broken: tuple[BrokenPlugin, ...]


@dataclass(frozen=True, slots=True)
class LoadedPlugins:
    """What could be imported, and all that cannot be used."""

    loaded: tuple[tuple[Plugin, object], ...]
    broken: tuple[BrokenPlugin, ...]


def find_plugins(kinds: Iterable[PluginKind] = PluginKind) -> FoundPlugins:
    """The plug-ins of these kinds by name, without importing any of them.

    Of two model clients, planners or memories of one name the first is used, by the names of their packages; the other
    is reported. The name of a tools plug-in names nothing: there it is the names of the tools that count.
    """
    wanted = frozenset(kinds)
    declared, broken = _declared()
    found: dict[tuple[PluginKind, str, str], Plugin] = {}
    for plugin in sorted((p for p in declared if p.kind in wanted), key=lambda p: (p.kind, p.name, p.package)):
        own = plugin.package + plugin.target if plugin.kind is PluginKind.tools else ""
        other = found.setdefault((plugin.kind, plugin.name, own), plugin)
        if other is not plugin:
            broken.append(_broken(plugin, f"{other.package} has a plug-in named {plugin.name!r} too"))
    return FoundPlugins(tuple(found.values()), tuple(broken))


def load_plugins(kinds: Iterable[PluginKind] = PluginKind, *, timeout_seconds: float = IMPORT_SECONDS) -> LoadedPlugins:
    """Find the plug-ins of these kinds and import them; one that is broken is reported and skipped."""
    plugins = find_plugins(kinds)
    loaded: list[tuple[Plugin, object]] = []
    broken = list(plugins.broken)
    for plugin in plugins.found:
        try:
            loaded.append((plugin, plugin.load(timeout_seconds=timeout_seconds)))
        except ConfigurationError as error:
            broken.append(_broken(plugin, str(error)))
    return LoadedPlugins(tuple(loaded), tuple(broken))


def _broken(plugin: Plugin, reason: str) -> BrokenPlugin:
    return BrokenPlugin(plugin.kind, plugin.name, plugin.package, reason)


def _declared() -> tuple[list[Plugin], list[BrokenPlugin]]:
    """Package by package: `entry_points()` fails as a whole when the file of one package cannot be read."""
    plugins: list[Plugin] = []
    broken: list[BrokenPlugin] = []
    for folder in importlib.metadata.distributions():
        name = "a package without a name"
        try:
            if _MARK not in (folder.read_text("entry_points.txt") or ""):
                continue
            name = folder.metadata["Name"]
            plugins += _declared_by(name, folder)
        except Exception as error:  # noqa: BLE001  the files of a package are foreign, as its code is
            broken.append(BrokenPlugin(None, name, name, f"its entry points cannot be read: {said_by(error)}"))
    return plugins, broken


def _declared_by(name: str, folder: importlib.metadata.Distribution) -> list[Plugin]:
    package = f"{name} {folder.version}"
    # Two installations of one package on the path: only the first is imported from.
    if importlib.metadata.distribution(name).version != folder.version:
        return []
    return [
        Plugin(kind, point.name, point.value, package)
        for kind in PluginKind
        for point in folder.entry_points.select(group=kind.value)
    ]


def _within(seconds: float, load: Callable[[], object]) -> object:
    """Raises:
    ConfigurationError: it raised, also what would end the process, or did not return in time.
    """
    outcome: list[object] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(load())
        except BaseException as error:  # noqa: BLE001  a plug-in is foreign code, and told to whoever asked for it
            raised.append(error)

    thread = threading.Thread(target=work, name="plugin-import", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise ConfigurationError(said_by(raised[0])) from raised[0]
    if not outcome:
        raise ConfigurationError(f"importing it takes longer than {seconds:g} s")
    return outcome[0]


def _misshapen(kind: PluginKind, found: object) -> str | None:
    """What is wrong with the object; None when it can be one of this kind."""
    if kind is not PluginKind.tools:
        return None if callable(found) else f"is {type(found).__name__}, which cannot be called"
    if isinstance(found, BaseToolManager):
        return None
    for each in found if isinstance(found, list | tuple) else [found]:
        if not callable(each):
            return f"is {type(each).__name__}, not a function, a list of them or a set of tools"
    return None
