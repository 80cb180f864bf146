"""What a sandbox is: code in, what came of it out, within limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Protocol

from agentkit.errors import ConfigurationError
from agentkit.transcript import JsonObject, JsonValue

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one job may use. There is always one process: it cannot fork, nor start a program.

    So that memory and processor time are limits of the whole job, and killing one process ends all of it.
    """

    #: Of the wall clock, and of the processor.
    seconds: float = 10.0
    #: Address space, with the interpreter's own (about 30 MiB).
    memory_bytes: int = 512 * _MIB
    #: Threads, the main one among them.
    threads: int = 32
    #: All files in its work folder together.
    files_bytes: int = 16 * _MIB
    #: Files in its work folder.
    files: int = 1_000
    #: Files, pipes and sockets that are open at once.
    open_files: int = 64
    #: What it prints on both streams, and by itself what it answers.
    output_bytes: int = 256 * 1024
    #: Whether it may open connections (TCP, UDP, names); all of the worker's network is then in its reach.
    network: bool = False

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a limit is none.
        """
        for each in fields(self):
            if each.name != "network" and not getattr(self, each.name) > 0:
                raise ConfigurationError(f"a sandbox needs {each.name} over 0, not {getattr(self, each.name)!r}")
        if self.memory_bytes < 64 * _MIB or self.open_files < 16:
            raise ConfigurationError(
                "an interpreter needs memory_bytes of at least 64 MiB and open_files of at least 16"
            )


class Ending(StrEnum):
    """How a job came to its end."""

    #: It gave an answer.
    finished = "finished"
    #: It raised, whatever it was: `SystemExit` as well.
    raised = "raised"
    #: Its time was up, by the wall clock or by the processor's.
    timed_out = "timed out"
    #: It wanted more memory than it may have.
    out_of_memory = "out of memory"
    #: It printed or answered more than it may.
    too_much_output = "too much output"
    #: It wrote more into its work folder than it may.
    too_many_files = "too many files"
    #: Its process ended before it gave an answer: it left, crashed or was killed.
    died = "died"


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """What came of a job. All of it is of the code's own making and may be a lie, about itself."""

    ending: Ending
    #: What was printed, up to the limit.
    stdout: str
    stderr: str
    #: The answer, when it finished.
    value: JsonValue
    #: Why there is no answer, for people and models; empty when it finished.
    error: str
    #: From handing over the job to its end.
    seconds: float


class Sandbox(Protocol):
    """Runs each job in an interpreter of its own, which sees nothing of this process and of earlier jobs.

    It belongs to the event loop that opened it. A job whose caller is cancelled is killed.
    """

    @property
    def limits(self) -> SandboxLimits:
        """Of every job."""
        ...

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules, beyond the standard library, that are imported before a job comes."""
        ...

    async def run(self, code: str) -> SandboxResult:
        """Run Python source; the value is `repr()` of its last expression, None when it ends with a statement.

        Raises:
            ConfigurationError: no interpreter could be started, or the sandbox is closed.
        """
        ...

    async def call(self, function: str, arguments: JsonObject) -> SandboxResult:
        """Call a function (`package.module:name`) with these keyword arguments; the value is what it returns.

        Raises:
            ConfigurationError: as `run`.
        """
        ...
