"""The payloads that the documentation describes are those that a running system writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ops_core.client import Client, Event
from ops_core.domain.task import RetryFrom
from ops_core.tests.docs.pages import SITE
from ops_core.tests.journeys.system import System

_ROW = re.compile(r"^\| `(?P<type>[a-z_.]+)` \| (?P<fields>.+) \|$", re.MULTILINE)


def documented_fields() -> Mapping[str, set[str]]:
    text = (SITE / "reference/events.md").read_text(encoding="utf-8").partition("## Payloads")[2]
    return {row["type"]: set(re.findall(r"`(\w+)`", row["fields"])) for row in _ROW.finditer(text)}


def test_every_field_that_is_written_is_documented(documented_system: System) -> None:
    documented = documented_fields()
    with documented_system.client() as client:
        events = [*a_finished_task(client), *a_canceled_task(client), *a_failed_task(client)]
    assert {event.type for event in events} >= {
        *("task.submitted", "task.started", "llm.completed", "tool.completed", "task.completed"),
        *("task.canceled", "task.reopened", "task.due", "task.failed"),
    }
    undocumented = {event.type: left for event in events if (left := set(event.payload) - documented[event.type])}
    assert undocumented == {}


def a_finished_task(client: Client) -> list[Event]:
    task = client.tasks.submit("assistant", "How much do 3 Widget Pro cost?")
    return list(client.tasks.events(task.id))


def a_canceled_task(client: Client) -> list[Event]:
    """Canceled before it ran, and then reopened."""
    task = client.tasks.submit("assistant", "What is 6 * 7?", run_at=datetime.now(UTC) + timedelta(days=1))
    client.tasks.cancel(task.id)
    client.tasks.retry(task.id, retry_from=RetryFrom.journal)
    return list(client.tasks.events(task.id))


def a_failed_task(client: Client) -> list[Event]:
    """Due in a moment, and with less time than its four questions to a slow model take."""
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    task = client.tasks.submit("slow", "How much do 3 Widget Pro cost?", run_at=due, timeout_seconds=3.5)
    return list(client.tasks.events(task.id))
