"""What people type about tasks, as values: goals and inputs, labels, ages, and ids cut short."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ops_core.cli.ids import CANDIDATES, find_id
from ops_core.cli.refusals import CommandRefused
from ops_core.cli.terminal import shortened
from ops_core.domain.task import JsonObject

if TYPE_CHECKING:
    from ops_core.client import Client, Task

#: No server takes more, and a file that is larger was named by mistake.
_MAX_INPUT_BYTES: Final = 16 * 1024 * 1024
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def goal_or_input(argument: str | None, file: str | None) -> tuple[str | None, JsonObject | None]:
    """The goal, or the input when the text is a JSON object; from the argument or from the file (`-` is stdin).

    Raises:
        CommandRefused: both or neither are given, or the text begins like JSON and is none.
    """
    if (argument is None) == (file is None):
        raise CommandRefused(
            "give either a goal (or a JSON object) or --input FILE",
            advice="ops-core task run assistant 'What is 17 * 23?'",
        )
    text = argument if argument is not None else read_text(file or "-")
    if not text.lstrip().startswith("{"):
        return text.strip(), None
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CommandRefused(
            f"the input begins with {{ and is not JSON: {error}", advice="check its quotes, or use --input FILE"
        ) from error
    return None, value


def read_text(file: str, *, max_bytes: int = _MAX_INPUT_BYTES) -> str:
    """What the file holds; `-` is stdin.

    Raises:
        CommandRefused: it cannot be read, is too large or not UTF-8.
    """
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with Path(file).open("rb") as stream:
                raw = stream.read(max_bytes + 1)
        if len(raw) > max_bytes:
            raise CommandRefused(f"{file} is over {max_bytes:,} bytes", advice="a smaller file")
        return raw.decode()
    except OSError as error:
        raise CommandRefused(f"{file} cannot be read: {error.strerror}", advice="check the path") from error
    except UnicodeDecodeError as error:
        raise CommandRefused(f"{file} is not UTF-8: {error}", advice="convert it to UTF-8") from error


def labels_of(pairs: Sequence[str]) -> dict[str, str]:
    """`k=v` pairs as a mapping.

    Raises:
        CommandRefused: a pair has no `=`.
    """
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise CommandRefused(f"{pair!r} is not a label", advice="--label team=support")
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def rate_of(text: str | None) -> JsonObject | None:
    """`acme=100/60` as the rate it stands for.

    Raises:
        CommandRefused: it is none.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(?P<key>.+)=(?P<limit>\d{1,9})/(?P<seconds>\d{1,9}(?:\.\d{1,9})?)", text, re.DOTALL)
    if match is None:
        raise CommandRefused(f"{text!r} is not a rate", advice="--rate acme=100/60, which is 100 in 60 seconds")
    return {"key": match["key"], "limit": int(match["limit"]), "per_seconds": float(match["seconds"])}


def moment_of(text: str | None, *, now: datetime | None = None) -> datetime | None:
    """The time so long ago (`90s`, `30m`, `24h`, `7d`, `2w`), or the RFC 3339 time itself.

    Raises:
        CommandRefused: it is neither.
    """
    if text is None:
        return None
    try:
        if match := re.fullmatch(r"(\d{1,9})([smhdw])", text.strip()):
            return (now or datetime.now(UTC)) - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise CommandRefused(f"{text!r} is neither an age nor a time", advice="--since 24h") from error
    return moment if moment.tzinfo else moment.astimezone()


def find_task(client: Client, text: str) -> UUID:
    """The id that begins so.

    Raises:
        CommandRefused: it is no id, or no task or several tasks have one like it.
        ClientError
    """
    return find_id(
        text,
        noun="task",
        look=lambda digits: client.tasks.list(id_prefix=digits, limit=CANDIDATES + 1),
        id_of=lambda task: task.id,
        line_of=_candidate,
    )


def _candidate(task: Task) -> str:
    return f"{task.id}  {task.status:<9}  {task.agent}  {shortened(goal_of(task), 60)}"


def goal_of(task: Task) -> str:
    """What the task is about, in a few words of its own."""
    goal = task.input.get("goal")
    return goal if isinstance(goal, str) else json.dumps(task.input, ensure_ascii=False)
