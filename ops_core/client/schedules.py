"""Schedules, as a client sees them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from ops_core.client.answers import Schedule, Task, items_of, parsed, parsed_time
from ops_core.client.connection import Connection
from ops_core.client.pages import items_page_by_page
from ops_core.domain.schedule import CatchUp
from ops_core.domain.task import JsonObject

_PATH: Final = "/api/v1/schedules"


class Schedules:
    """The schedules of one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        cron: str,
        submission: JsonObject,
        *,
        timezone: str | None = None,
        catch_up: CatchUp | None = None,
        paused: bool = False,
    ) -> Schedule:
        """Add a schedule. The submission is what `Tasks.submit` would send, such as `{"agent": …, "goal": …}`.

        Raises:
            RequestRefused: schedule_exists, invalid_input. ServerUnreachable, AnswerNotUnderstood.
        """
        body = _given(
            {
                "name": name,
                "cron": cron,
                "submission": submission,
                "timezone": timezone,
                "catch_up": None if catch_up is None else catch_up.value,
                "paused": paused or None,
            }
        )
        return parsed(Schedule, self._connection.post_once(_PATH, body))

    def get(self, name: str) -> Schedule:
        """Raises:
        RequestRefused: schedule_not_found.
        """
        return parsed(Schedule, self._connection.get(_path(name)))

    def list(self, *, limit: int | None = None) -> Iterator[Schedule]:
        """Schedules by name, up to the limit; pages are asked for as they are needed."""
        for item in items_page_by_page(self._connection, _PATH, {}, limit=limit):
            yield parsed(Schedule, item)

    def update(
        self,
        name: str,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        submission: JsonObject | None = None,
        catch_up: CatchUp | None = None,
        version: int | None = None,
    ) -> Schedule:
        """Change what is given; with a version, only if the schedule still has it.

        Raises:
            RequestRefused: schedule_not_found, schedule_changed, invalid_input.
        """
        body = _given(
            {
                "cron": cron,
                "timezone": timezone,
                "submission": submission,
                "catch_up": None if catch_up is None else catch_up.value,
                "version": version,
            }
        )
        return parsed(Schedule, self._connection.patch_once(_path(name), body))

    def delete(self, name: str) -> None:
        """Raises:
        RequestRefused: schedule_not_found.
        """
        self._connection.delete_once(_path(name))

    def pause(self, name: str) -> Schedule:
        """Raises:
        RequestRefused: schedule_not_found.
        """
        return parsed(Schedule, self._connection.post_repeatable(f"{_path(name)}/pause"))

    def resume(self, name: str) -> Schedule:
        """Raises:
        RequestRefused: schedule_not_found.
        """
        return parsed(Schedule, self._connection.post_repeatable(f"{_path(name)}/resume"))

    def trigger(self, name: str, *, idempotency_key: str | None = None) -> Task:
        """Submit now what the schedule submits, once: without a key of the caller's it gets one.

        Raises:
            RequestRefused: schedule_not_found, and what a submit is refused for.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return parsed(Task, self._connection.post_repeatable(f"{_path(name)}/trigger", headers=headers))

    def next_times(self, name: str, *, count: int | None = None) -> Sequence[datetime]:
        """The times to come, in UTC.

        Raises:
            RequestRefused: schedule_not_found.
        """
        body = self._connection.get(f"{_path(name)}/next", params=_given({"count": count}))
        return [parsed_time(item) for item in items_of(body)]


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='', errors='replace')}"


def _given(fields: dict[str, Any]) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}
