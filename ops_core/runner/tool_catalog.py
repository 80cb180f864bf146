"""The tools that agents can name: agentkit's own, and those that installed packages offer as entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from agentkit.errors import ConfigurationError
from agentkit.tools.builtin import ask_person, calculator, clock, convert_units, sleep, wait_for_signal
from agentkit.tools.registry import ToolRegistry
from ops_core.telemetry import LogEvent, get_logger

#: A package offers tools as `[project.entry-points."agentkit.tools"] name = "module:function"`. The object is a
#: typed function, one decorated with `@tool`, or a list of such.
ENTRY_POINT_GROUP = "agentkit.tools"

_log = get_logger()


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point that could not be used."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ToolCatalog:
    """Every tool found, and every plug-in that is broken."""

    registry: ToolRegistry
    broken: tuple[BrokenPlugin, ...]


def load_tool_catalog() -> ToolCatalog:
    """The built-in tools and the plugged-in ones; a broken plug-in is reported and skipped."""
    registry = ToolRegistry([calculator, clock, convert_units, ask_person, sleep, wait_for_signal])
    broken: list[BrokenPlugin] = []
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        try:
            for function in _offered(point):
                registry.add(function)
        except Exception as error:  # noqa: BLE001  a plug-in is foreign code: it may raise anything, also at import
            broken.append(BrokenPlugin(point.name, f"{type(error).__name__}: {error}"))
            _log.warning(LogEvent.plugin_broken, plugin=point.name, error=str(error))
    return ToolCatalog(registry, tuple(broken))


def _offered(point: EntryPoint) -> Iterable[Callable[..., Any]]:
    found = point.load()
    functions = list(found) if isinstance(found, (list, tuple)) else [found]
    for function in functions:
        if not callable(function):
            raise ConfigurationError(f"{point.value} is {type(function).__name__}, not a function or a list of them")
    return functions
