"""A text in the person's own editor."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ops_core.cli.refusals import CommandRefused


def edited(text: str, *, command: Sequence[str], suffix: str, instead: str) -> str:
    """The text as the person leaves it.

    Raises:
        CommandRefused: the editor cannot be run or failed, or nothing was changed.
    """
    with tempfile.TemporaryDirectory(prefix="ops-core-") as folder:
        file = Path(folder) / f"edit{suffix}"
        file.write_text(text, encoding="utf-8")
        try:
            # The person's own choice of a program, and no shell.
            done = subprocess.run([*command, str(file)], check=False)  # noqa: S603
            found = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandRefused(f"the editor {command[0]!r} cannot be used: {error}", advice=instead) from error
    if done.returncode:
        raise CommandRefused(f"the editor {command[0]!r} ended with {done.returncode}", advice=instead)
    if found == text:
        raise CommandRefused("nothing was changed in the editor; nothing is decided", advice=instead)
    return found
