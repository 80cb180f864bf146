"""A tool whose function runs in a sandbox instead of in this process."""

from __future__ import annotations

import asyncio
import importlib
import sys
from operator import attrgetter
from typing import Any, ParamSpec, TypeVar, cast

from agentkit.errors import BadToolArguments, ConfigurationError, ToolError, ToolFailed, ToolTimeout
from agentkit.sandbox.base import Ending, Sandbox
from agentkit.tools.base import ToolContext
from agentkit.tools.function import FunctionTool
from agentkit.tools.threads import DaemonThreads
from agentkit.transcript import JsonObject

P = ParamSpec("P")
R = TypeVar("R")

#: What a tool inside may say of itself, by the code that it says it with.
_ERRORS: dict[str, type[ToolError]] = {
    each.code: each for each in (ToolError, BadToolArguments, ToolFailed, ToolTimeout)
}


def sandboxed(inner: FunctionTool[P, R], sandbox: Sandbox) -> FunctionTool[P, R]:
    """The same tool to a model, run in the sandbox; open that with `modules=modules_of(inner), site_packages=True`.

    The tool's module is imported inside and here. Only arguments and the result, as JSON, pass between them. The tool
    is given the context of its call but cannot wait (`context.waits`), and nothing it keeps in memory lasts.

    Raises:
        ConfigurationError: the tool cannot be found by name, or the sandbox was opened without its module.
    """
    return _SandboxedTool(inner, sandbox)


def modules_of(*tools: FunctionTool[..., Any]) -> tuple[str, ...]:
    """What a sandbox has to import so that these tools can run in it."""
    return tuple(dict.fromkeys((__name__, *(each.function.__module__ for each in tools))))


class _SandboxedTool(FunctionTool[P, R]):
    def __init__(self, inner: FunctionTool[P, R], sandbox: Sandbox) -> None:
        spec = inner.spec
        super().__init__(
            inner.function,
            name=spec.name,
            description=spec.description,
            side_effect=spec.side_effect,
            on_unknown=spec.on_unknown,
        )
        self._name = _importable_name(inner)
        self._sandbox = sandbox
        missing = [each for each in modules_of(inner) if each not in sandbox.modules]
        if missing:
            raise ConfigurationError(
                f"the tool {spec.name!r} needs a sandbox that imports {', '.join(missing)}: open it with "
                "modules=modules_of(tool), site_packages=True"
            )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Raises:
            ConfigurationError: always; called like a function, it would run in this process.
        """
        raise ConfigurationError(f"the tool {self.spec.name!r} is sandboxed and cannot be called as a function")

    async def call(self, arguments: JsonObject, context: ToolContext, threads: DaemonThreads) -> str:
        known = {
            "run_id": context.run_id,
            "step_key": context.step_key,
            "idempotency_key": context.idempotency_key,
            "timeout_seconds": context.timeout_seconds,
        }
        given: JsonObject = {"name": self._name, "arguments": arguments, "context": known}
        result = await self._sandbox.call(f"{__name__}:call_inside", given)
        match result.ending, result.value:
            case Ending.finished, {"content": str() as content}:
                return content
            case Ending.finished, {"error": str() as code, "message": str() as message} if code in _ERRORS:
                raise _ERRORS[code](message)
            case Ending.finished, _:
                raise ToolFailed(f"The tool {self.spec.name!r} gave an answer that cannot be read.")
            case Ending.raised, _:
                raise ToolFailed(f"The tool {self.spec.name!r} raised: {_last_line(result.error)}")
            case Ending.timed_out, _:
                raise ToolTimeout(f"The tool {self.spec.name!r} was stopped: {result.error}.")
            case ending, _:
                raise ToolFailed(f"The tool {self.spec.name!r} was stopped ({ending}): {_last_line(result.error)}.")


def call_inside(name: str, arguments: JsonObject, context: JsonObject) -> JsonObject:
    """Runs in the sandbox: the tool's answer, or what it wants the model to be told."""
    module, _, attribute = name.partition(":")
    found = attrgetter(attribute)(importlib.import_module(module))
    inner = found if isinstance(found, FunctionTool) else FunctionTool(found)
    try:
        content = asyncio.run(inner.call(arguments, ToolContext(**context), DaemonThreads(limit=1)))
    except ToolError as error:
        return {"error": error.code if error.code in _ERRORS else ToolError.code, "message": str(error)}
    return {"content": content}


def _importable_name(inner: FunctionTool[..., Any]) -> str:
    """
    Raises:
        ConfigurationError: there is no such name, or it means something else.
    """
    function = cast(Any, inner.function)
    module, name = function.__module__, function.__qualname__
    try:
        found = attrgetter(name)(sys.modules[module])
    except (AttributeError, KeyError):
        found = None
    if module == "__main__" or not (found is inner or found is function):
        raise ConfigurationError(
            f"the tool {inner.spec.name!r} cannot be sandboxed: {module}.{name} does not name it; define it at the top "
            "of a module that can be imported"
        )
    return f"{module}:{name}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "nothing more is known"
