"""The tool that runs Python which a model wrote, in a sandbox."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentkit.errors import ToolFailed, ToolTimeout
from agentkit.sandbox.base import Ending, Sandbox, SandboxResult
from agentkit.tools.function import FunctionTool


def make_python(sandbox: Sandbox) -> FunctionTool[..., object]:
    """The tool `python`. It changes something outside only when the sandbox has a network."""

    async def python(
        code: Annotated[str, Field(description="Python source. The value of a last expression is shown, as by repr()")],
    ) -> str:
        return _shown(await sandbox.run(code))

    return FunctionTool(python, name="python", description=_description(sandbox), side_effect=sandbox.limits.network)


def _description(sandbox: Sandbox) -> str:
    limits = sandbox.limits
    packages = f" and {', '.join(sandbox.modules)}" if sandbox.modules else ""
    return (
        f"Run Python code and get what it prints and the value of its last expression. "
        f"Each call starts anew: nothing of earlier calls is left. There are the standard library{packages}, "
        f"{'the network' if limits.network else 'no network'}, no other programs, and an empty folder for files "
        f"(at most {_size(limits.files_bytes)}). It may take {limits.seconds:g} s, {_size(limits.memory_bytes)} of "
        f"memory and print {_size(limits.output_bytes)}."
    )


def _size(count: int) -> str:
    return f"{count / 1024**2:g} MiB" if count >= 1024**2 else f"{count / 1024:g} KiB"


def _shown(result: SandboxResult) -> str:
    """
    Raises:
        ToolTimeout, ToolFailed: the code did not come to its end; what it printed until then is told too.
    """
    printed = _printed(result)
    match result.ending:
        case Ending.finished:
            value = [f"value: {result.value}"] if result.value is not None else []
            return "\n".join([*printed, *value]) or "The code ran, printed nothing and has no value."
        case Ending.timed_out:
            raise ToolTimeout("\n".join([f"The code was stopped: {result.error}.", *printed]))
        case Ending.raised | Ending.out_of_memory:
            raise ToolFailed("\n".join([result.error, *printed]))
        case Ending.too_much_output | Ending.too_many_files | Ending.died:
            raise ToolFailed("\n".join([f"The code was stopped: {result.error}.", *printed]))


def _printed(result: SandboxResult) -> list[str]:
    streams = (("stdout", result.stdout), ("stderr", result.stderr))
    return [f"{name}:\n{text.rstrip()}" for name, text in streams if text.strip()]
