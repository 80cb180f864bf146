"""What every command is given: how to reach the server. The entry point knows the settings; commands do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


@contextmanager
def connect(context: typer.Context, url: str | None) -> Iterator[Client]:
    """A client; whatever the server refuses is told, and ends the command with its exit code."""
    from ops_core.client import ClientError

    carried = context.find_object(CliContext)
    if carried is None:
        raise AssertionError("the entry point passes a CliContext")
    try:
        with carried.connect(url) as client:
            yield client
    except ClientError as error:
        raise typer.Exit(tell_client_error(error)) from error
