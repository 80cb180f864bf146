"""The tools that agents can name: agentkit's own, and those that installed packages offer as entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agentkit.errors import ConfigurationError
from agentkit.plugins import BrokenPlugin, Plugin, PluginKind, load_plugins
from agentkit.tools.base import BaseToolManager, ToolSpec
from agentkit.tools.builtin import ask_person, calculator, clock, convert_units, sleep, wait_for_signal
from agentkit.tools.registry import ToolRegistry
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()


@dataclass(frozen=True, slots=True)
class ToolCatalog:
    """Every tool found, and every plug-in that is broken."""

    #: Functions first, then the sets that packages offer as such.
    sets: tuple[BaseToolManager, ...]
    plugins: tuple[Plugin, ...]
    broken: tuple[BrokenPlugin, ...]

    async def specs(self) -> Sequence[ToolSpec]:
        return [spec for each in self.sets for spec in await each.specs()]


def load_tool_catalog() -> ToolCatalog:
    """The built-in tools and the plugged-in ones; a broken plug-in is reported and skipped."""
    registry = ToolRegistry([calculator, clock, convert_units, ask_person, sleep, wait_for_signal])
    plugins = load_plugins([PluginKind.tools])
    sets: list[BaseToolManager] = [registry]
    usable: list[Plugin] = []
    broken = list(plugins.broken)
    for plugin, offered in plugins.loaded:
        try:
            if isinstance(offered, BaseToolManager):
                sets.append(offered)
            else:
                for function in _functions(offered):
                    registry.add(function)
            usable.append(plugin)
        except ConfigurationError as error:
            broken.append(BrokenPlugin(plugin.kind, plugin.name, plugin.package, str(error)))
    for each in broken:
        _log.warning(LogEvent.plugin_broken, plugin=each.name, package=each.package, error=each.reason)
    return ToolCatalog(tuple(sets), tuple(usable), tuple(broken))


def _functions(offered: object) -> Iterable[Callable[..., Any]]:
    """One or a list of them: `load_plugins` has looked."""
    return cast("Iterable[Callable[..., Any]]", offered if isinstance(offered, (list, tuple)) else [offered])
