"""`ops-core db …`: the schema's version, and how it gets to the newest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.output import write_line
from ops_core.cli.refusals import tell
from ops_core.cli.terminal import say
from ops_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from ops_core.settings import Settings

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 5.0


def upgrade() -> None:
    """Bring the database's schema to this version's. Harmless when it is there already."""
    from ops_core.storage import migrations

    settings = _settings()
    version = until_available(
        lambda: migrations.upgrade(settings.database_url), timeout_seconds=settings.start_timeout_seconds
    )
    say("the schema is this version's", style="dim")
    write_line(version)


def current() -> None:
    """Print the version of the database's schema."""
    from ops_core.storage import migrations

    version = migrations.current(_settings().database_url)
    if version is None:
        say("the database has no schema yet", style="yellow")
        raise typer.Exit(ExitCode.failed)
    write_line(version)


def check() -> None:
    """Is the schema this version's, or a newer one? Exit code 0 when it is."""
    from ops_core.storage import migrations

    found, wanted = migrations.current(_settings().database_url), migrations.newest()
    if not migrations.fits(found):
        tell(f"the schema is {found or 'not there'}, and this version wants {wanted}", advice="ops-core db upgrade")
        raise typer.Exit(ExitCode.failed)
    write_line(found or wanted)


def until_available(
    ask: Callable[[], str],
    *,
    timeout_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """What `ask` returns, asked again while the database is away, with growing pauses.

    Raises:
        StoreUnavailable: it was away for the whole time.
    """
    ends_at, pause = clock() + timeout_seconds, _FIRST_PAUSE_SECONDS
    while True:
        try:
            return ask()
        except StoreUnavailable as error:
            if clock() + pause > ends_at:
                raise
            say(f"{error.detail}; waiting for it", style="yellow")
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _settings() -> Settings:
    from ops_core.settings import Settings, load_settings

    return load_settings(Settings)
