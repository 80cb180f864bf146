"""Tasks, as a client sees them: submit, look, list, wait, follow, signal, cancel, retry, fork."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ops_core.client.answers import Event, Signal, Task, TextDelta, items_of, parsed
from ops_core.client.connection import Connection
from ops_core.client.event_stream import EventStream
from ops_core.client.pages import items_page_by_page
from ops_core.domain.task import JsonObject, JsonValue, RetryFrom, TaskStatus

_PATH: Final = "/api/v1/tasks"
#: Longest one request waits; the server may allow less, and then answers earlier.
_WAIT_SECONDS: Final = 30.0
#: What an answer may take on top of the time it waits.
_GRACE_SECONDS: Final = 15.0
_PAGE: Final = 100


class Tasks:
    """The tasks of one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(
        self,
        agent: str,
        goal: str | None = None,
        *,
        input: JsonObject | None = None,
        priority: int | None = None,
        run_at: datetime | str | None = None,
        timeout_seconds: float | None = None,
        max_attempts: int | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        stream: bool = False,
        queue_timeout_seconds: float | None = None,
        attempt_timeout_seconds: float | None = None,
        concurrency_key: str | None = None,
        concurrency_limit: int | None = None,
        rate: JsonObject | None = None,
        fairness_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Submit one task, once: without a key of the caller's it gets one, so that trying again adds no second.
        `rate` is `{"key": …, "limit": …, "per_seconds": …}`.

        Raises:
            RequestRefused, ServerUnreachable, AnswerNotUnderstood.
        """
        asked = {
            "agent": agent,
            "goal": goal,
            "input": input,
            "priority": priority,
            "run_at": run_at.isoformat() if isinstance(run_at, datetime) else run_at,
            "timeout_seconds": timeout_seconds,
            "max_attempts": max_attempts,
            "queue": queue,
            "labels": dict(labels) if labels else None,
            # Left out when it is not wanted: servers from before it refuse a field they do not know.
            "stream": stream or None,
            "queue_timeout_seconds": queue_timeout_seconds,
            "attempt_timeout_seconds": attempt_timeout_seconds,
            "concurrency_key": concurrency_key,
            "concurrency_limit": concurrency_limit,
            "rate": rate,
            "fairness_key": fairness_key,
        }
        body = {name: value for name, value in asked.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return parsed(Task, self._connection.post_repeatable(_PATH, body, headers=headers))

    def submit_batch(self, tasks: Sequence[JsonObject], *, idempotency_key: str | None = None) -> Sequence[Task]:
        """Submit several tasks with one request: each as `submit` would send it, such as `{"agent": …, "goal": …}`.

        All are checked before the first is added. Without a key of its own each gets one from this request's, so that
        trying again adds none twice. `Client.info()` tells how many and how much one request may hold.

        Raises:
            RequestRefused: with pointers that begin with /tasks/<index>. ServerUnreachable, AnswerNotUnderstood.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = self._connection.post_repeatable(f"{_PATH}/batch", {"tasks": [*tasks]}, headers=headers)
        return [parsed(Task, item) for item in items_of(body)]

    def get(self, task_id: UUID) -> Task:
        """Raises:
        RequestRefused: task_not_found.
        """
        return parsed(Task, self._connection.get(f"{_PATH}/{task_id}"))

    def list(
        self,
        *,
        statuses: Sequence[TaskStatus] = (),
        agent: str | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        id_prefix: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Task]:
        """Tasks, newest first, up to the limit; pages are asked for as they are needed."""
        narrowing: dict[str, Any] = {
            "status": [status.value for status in statuses] or None,
            "agent": agent,
            "queue": queue,
            "label": [f"{key}:{value}" for key, value in (labels or {}).items()] or None,
            "created_after": created_after.isoformat() if created_after else None,
            "created_before": created_before.isoformat() if created_before else None,
            "id_prefix": id_prefix,
        }
        params = {name: value for name, value in narrowing.items() if value is not None}
        for item in items_page_by_page(self._connection, _PATH, params, limit=limit):
            yield parsed(Task, item)

    def wait(self, task_id: UUID, *, timeout_seconds: float | None = None) -> Task:
        """The task once it is final, or waits for somebody outside, or the time is over: look at its status."""
        ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = _WAIT_SECONDS if ends_at is None else max(0.0, min(_WAIT_SECONDS, ends_at - time.monotonic()))
            # A preference is cut to what the server allows; a parameter over it would be refused.
            headers = {"Prefer": f"wait={math.ceil(left)}"} if left else {}
            body = self._connection.get(f"{_PATH}/{task_id}", headers=headers, timeout_seconds=left + _GRACE_SECONDS)
            task = parsed(Task, body)
            if task.status.is_final or task.waits_for_somebody or left <= 0:
                return task

    def events(self, task_id: UUID, *, after: int = 0, timeout_seconds: float | None = None) -> Iterator[Event]:
        """Events as they happen, each once, until the task is final; a broken connection is taken up where it broke.

        Raises:
            As `EventStream`.
        """
        items = self.watch(task_id, after=after, timeout_seconds=timeout_seconds)
        return (item for item in items if isinstance(item, Event))

    def watch(
        self, task_id: UUID, *, after: int = 0, timeout_seconds: float | None = None
    ) -> Iterator[Event | TextDelta]:
        """As `events`; and between them, of a task that streams, the text that its model is writing.

        Raises:
            As `EventStream`.
        """
        return iter(
            EventStream(self._connection, f"{_PATH}/{task_id}/events", after=after, timeout_seconds=timeout_seconds)
        )

    def past_events(self, task_id: UUID, *, after: int = 0) -> Iterator[Event]:
        """The events there are so far, page by page."""
        while True:
            body = self._connection.get(f"{_PATH}/{task_id}/events", params={"after": after, "limit": _PAGE})
            yield from (parsed(Event, item) for item in items_of(body))
            if body.get("next_after") is None:
                return
            after = body["next_after"]

    def cancel(self, task_id: UUID) -> Task:
        """Raises:
        RequestRefused: task_not_found, task_finished.
        """
        return parsed(Task, self._connection.post_once(f"{_PATH}/{task_id}/cancel"))

    def retry(self, task_id: UUID, *, retry_from: RetryFrom = RetryFrom.journal, step: int | None = None) -> Task:
        """Reopen a finished task. `step` goes with `RetryFrom.step`: the first one to be done anew.

        Raises:
            RequestRefused: task_not_found, task_not_finished, step_not_found.
        """
        body: JsonObject = {"from": retry_from.value}
        if step is not None:
            body["step"] = step
        return parsed(Task, self._connection.post_once(f"{_PATH}/{task_id}/retry", body))

    def fork(
        self,
        task_id: UUID,
        *,
        from_step: int,
        instructions: str | None = None,
        model: Mapping[str, str] | None = None,
        input: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Add a task that begins with the steps of a finished one before `from_step`, once: without a key of the
        caller's it gets one. `model` is `{"provider": …, "name": …}`, either of them or both.

        Raises:
            RequestRefused: task_not_found, task_not_finished, step_not_found, and what a submit is refused for.
        """
        asked = {
            "from_step": from_step,
            "instructions": instructions,
            "model": dict(model) if model else None,
            "input": input,
        }
        body = {name: value for name, value in asked.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return parsed(Task, self._connection.post_repeatable(f"{_PATH}/{task_id}/fork", body, headers=headers))

    def children(self, task_id: UUID, *, limit: int | None = None) -> Iterator[Task]:
        """The tasks it has called, of all rounds, oldest first, up to the limit; pages are asked for as they are
        needed.

        Raises:
            RequestRefused: task_not_found.
        """
        for item in items_page_by_page(self._connection, f"{_PATH}/{task_id}/children", {}, limit=limit):
            yield parsed(Task, item)

    def ancestors(self, task_id: UUID) -> Sequence[Task]:
        """The task, the one that called it, that one's caller, and so on up.

        Raises:
            RequestRefused: task_not_found.
        """
        return [parsed(Task, item) for item in items_of(self._connection.get(f"{_PATH}/{task_id}/ancestors"))]

    def signal(
        self, task_id: UUID, name: str, payload: JsonValue = None, *, idempotency_key: str | None = None
    ) -> Signal:
        """Send a signal, once: without a key of the caller's it gets one, so that trying again sends no second.

        Raises:
            RequestRefused: task_not_found, task_finished, too_many_signals.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = {"name": name, "payload": payload}
        return parsed(Signal, self._connection.post_repeatable(f"{_PATH}/{task_id}/signals", body, headers=headers))

    def signals(self, task_id: UUID, *, limit: int | None = None) -> Iterator[Signal]:
        """Those sent to the task, oldest first, up to the limit; pages are asked for as they are needed.

        Raises:
            RequestRefused: task_not_found.
        """
        for item in items_page_by_page(self._connection, f"{_PATH}/{task_id}/signals", {}, limit=limit):
            yield parsed(Signal, item)
