"""What a task can be given on a command line: the arguments and options of `task submit`, `task run` and schedules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from ops_core.cli.task_arguments import labels_of, rate_of
from ops_core.domain.task import JsonObject

AgentName = Annotated[str, typer.Argument(metavar="AGENT", help="Name of the agent.")]
Goal = Annotated[
    str | None,
    typer.Argument(metavar="GOAL|JSON", help="What it is to do, or its input as a JSON object.", show_default=False),
]
InputFile = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="Read the goal or input from a file; - is stdin.")
]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="K=V", help="May be repeated.", show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How a task is to be run. A command with the decorator `takes_task_options` has an option for each field."""

    priority: Annotated[int | None, typer.Option(help="0 to 9; 9 runs first.")] = None
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="The task fails when it takes longer.")
    ] = None
    max_attempts: Annotated[int | None, typer.Option(help="How often it may be tried.")] = None
    queue: Annotated[str | None, typer.Option(help="Queue, unless the agent's own.")] = None
    label: Label = None
    stream: Annotated[bool, typer.Option("--stream", help="Show the model's text while it is made.")] = False
    queue_timeout: Annotated[
        float | None,
        typer.Option("--queue-timeout", metavar="SECONDS", help="The task fails when no worker takes it in time."),
    ] = None
    attempt_timeout: Annotated[
        float | None, typer.Option("--attempt-timeout", metavar="SECONDS", help="One attempt may take so long.")
    ] = None
    concurrency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Tasks with this key run at most --concurrency-limit at once.")
    ] = None
    concurrency_limit: Annotated[int | None, typer.Option(metavar="N", help="How many of its key run at once.")] = None
    rate: Annotated[
        str | None,
        typer.Option("--rate", metavar="KEY=N/SECONDS", help="At most N tasks with this key start in so many seconds."),
    ] = None
    fairness_key: Annotated[str | None, typer.Option(metavar="KEY", help="Tasks with different keys take turns.")] = (
        None
    )

    def given(self) -> JsonObject:
        """What was given, under the names of a submission.

        Raises:
            CommandRefused: a label or a rate that cannot be read.
        """
        named = {
            "priority": self.priority,
            "timeout_seconds": self.timeout,
            "max_attempts": self.max_attempts,
            "queue": self.queue,
            "labels": labels_of(self.label or []) or None,
            "stream": self.stream or None,
            "queue_timeout_seconds": self.queue_timeout,
            "attempt_timeout_seconds": self.attempt_timeout,
            "concurrency_key": self.concurrency_key,
            "concurrency_limit": self.concurrency_limit,
            "rate": rate_of(self.rate),
            "fairness_key": self.fairness_key,
        }
        return {name: value for name, value in named.items() if value is not None}


def takes_task_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its parameter `options`, one for each of `TaskOptions`: Typer reads signatures."""

    @wraps(command)
    def with_options(**values: Any) -> None:
        options = TaskOptions(**{field.name: values.pop(field.name) for field in fields(TaskOptions)})
        command(**values, options=options)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        own = [parameter] if parameter.name != "options" else _parameters_of_options()
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    del with_options.__wrapped__  # or its own signature would be read
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # known to inspect
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def _parameters_of_options() -> list[inspect.Parameter]:
    hints = get_type_hints(TaskOptions, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(TaskOptions)
    ]
