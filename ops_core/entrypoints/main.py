"""The console script: mounts the commands that ask a server and the commands that are one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ops_core import __version__
from ops_core.cli import agents, approvals, queues, schedules, tasks
from ops_core.cli.context import CliContext
from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.output import write_line
from ops_core.cli.refusals import CommandRefused, tell_refusal
from ops_core.entrypoints import agent_check, api, config, db, doctor, housekeeper, rpc, up, worker
from ops_core.entrypoints.process import tell_error
from ops_core.errors import OpsCoreError

if TYPE_CHECKING:
    from ops_core.client import Client


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], *, connect: Callable[[str | None], Client] | None = None) -> int:
    """Run one command line; returns its exit code."""
    try:
        build_app()(args=list(arguments), prog_name="ops-core", obj=CliContext(connect or _connect, _editor))
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else ExitCode.ok
    except CommandRefused as error:
        return tell_refusal(error)
    except OpsCoreError as error:
        return tell_error(error)
    return ExitCode.ok


def build_app() -> typer.Typer:
    """The whole tree of commands. Building it imports nothing that is slow to import."""
    app = typer.Typer(
        no_args_is_help=True,
        # Our errors are told in one line; what is left is a bug, whose locals may hold secrets.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Run AI agents as durable background tasks.",
    )
    app.callback()(_root)
    app.command()(up.up)
    app.add_typer(tasks.app, name="task")
    app.add_typer(approvals.app, name="approval")
    app.add_typer(schedules.app, name="schedule")
    app.add_typer(queues.app, name="queue")
    agents_app = typer.Typer(no_args_is_help=True, help="The agents a server knows, and the files that define them.")
    agents_app.command("list")(agents.list_agents)
    agents_app.command("get")(agents.get)
    agents_app.command("check")(agent_check.check)
    app.add_typer(agents_app, name="agent")
    for name, start, what in (
        ("api", api.start, "The HTTP door as a process of its own."),
        ("rpc", rpc.start, "The gRPC door as a process of its own."),
        ("worker", worker.start, "Processes that run agents."),
        ("housekeeper", housekeeper.start, "The loops that make due tasks run and take back lost ones."),
    ):
        app.add_typer(_group(what, {"start": start}), name=name)
    schema = {"upgrade": db.upgrade, "current": db.current, "check": db.check}
    app.add_typer(_group("The database's schema.", schema), name="db")
    app.add_typer(_group("The settings and where they come from.", {"show": config.show}), name="config")
    app.command()(doctor.doctor)
    app.command()(version)
    return app


def version() -> None:
    """Print the version."""
    write_line(__version__)


def _show_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the whole command line."""


def _group(what: str, commands: dict[str, Callable[..., None]]) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=what)
    # Without a callback, typer would make a group of one command that command itself.
    group.callback()(lambda: None)
    for name, command in commands.items():
        group.command(name)(command)
    return group


def _connect(url: str | None) -> Client:
    from ops_core.client import Client
    from ops_core.settings import ClientSettings, load_settings

    settings = load_settings(ClientSettings, {"url": url})
    return Client(settings.url, settings.api_key.get_secret_value() if settings.api_key else None)


def _editor() -> Sequence[str]:
    from ops_core.settings import editor_command

    return editor_command()


if __name__ == "__main__":
    main()
