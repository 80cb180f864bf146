"""What every command is given: how to reach the server. The entry point knows the settings; commands do not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from ops_core.cli.refusals import tell_client_error

if TYPE_CHECKING:
    # httpx2 costs 0.1 s, which `--help` need not pay.
    from ops_core.client import Client


@dataclass(frozen=True, slots=True)
class CliContext:
    """Carried by the command context as `obj`."""

    #: Makes a client for the URL of `--url`, or for the configured one.
    connect: Callable[[str | None], Client]
    #: The command of the person's editor.
    editor: Callable[[], Sequence[str]] = lambda: ("vi",)
    #: Whether a person can be asked.
    is_terminal: Callable[[], bool] = lambda: sys.stdin.isatty()


def carried(context: typer.Context) -> CliContext:
    """What the entry point passed."""
    found = context.find_object(CliContext)
    if found is None:
        raise AssertionError("the entry point passes a CliContext")
    return found


@contextmanager
def connect(context: typer.Context, url: str | None) -> Iterator[Client]:
    """A client; whatever the server refuses is told, and ends the command with its exit code."""
    from ops_core.client import ClientError

    try:
        with carried(context).connect(url) as client:
            yield client
    except ClientError as error:
        raise typer.Exit(tell_client_error(error)) from error
