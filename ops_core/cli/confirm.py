"""Asking before what cannot be taken back."""

from __future__ import annotations

from typing import Annotated

import typer

from ops_core.cli.context import carried
from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.refusals import CommandRefused

Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]


def confirm(context: typer.Context, question: str, *, yes: bool) -> None:
    """Go on if it was said before or is said now.

    Raises:
        CommandRefused: nobody sits at a terminal to be asked.
        typer.Exit: the answer is no.
    """
    if yes:
        return
    if not carried(context).is_terminal():
        raise CommandRefused(f"{question} Nobody is there to be asked", advice="--yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(ExitCode.failed)
