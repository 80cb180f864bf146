"""A server of canned answers for the client's tests, behind httpx2's mock transport."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

from ops_core.client import Client

TASK_ID = "0193aaaa-0000-7000-8000-000000000001"


def task_json(**changes: Any) -> dict[str, Any]:
    return {
        "id": TASK_ID,
        "status": "queued",
        "agent": "assistant",
        "queue": "default",
        "input": {"goal": "add"},
        "labels": {},
        "attempt": 0,
        "max_attempts": 3,
        "created_at": "2026-11-21T05:00:00Z",
        "result": None,
        "error": None,
        **changes,
    }


APPROVAL_ID = "0193bbbb-0000-7000-8000-000000000002"


def approval_json(**changes: Any) -> dict[str, Any]:
    return {
        "id": APPROVAL_ID,
        "task_id": TASK_ID,
        "status": "pending",
        "agent": "refund-desk",
        "reason": "tool_call",
        "message": "Refund 80 EUR to Ada?",
        "tool": "refund",
        "arguments": {"amount": 80},
        "allowed": ["approve", "edit", "reject", "respond"],
        "groups": ["finance"],
        "required": 1,
        "created_at": "2026-11-21T05:00:00Z",
        "expires_at": None,
        "votes": [],
        **changes,
    }


def schedule_json(**changes: Any) -> dict[str, Any]:
    return {
        "name": "morning",
        "cron": "30 8 * * mon-fri",
        "timezone": "Europe/Berlin",
        "submission": {"agent": "assistant", "goal": "report"},
        "catch_up": "one",
        "paused": False,
        "next_at": "2030-01-02T07:30:00Z",
        "version": 1,
        **changes,
    }


def queue_json(**changes: Any) -> dict[str, Any]:
    return {
        "name": "default",
        "ready": 3,
        "running": 2,
        "workers": 1,
        "slots": 2,
        "free": 0,
        "oldest_ready_seconds": 1.25,
        "wanted_slots": 5,
        "wanted_slots_capped": False,
        **changes,
    }


def event_json(seq: int, type: str, **payload: Any) -> dict[str, Any]:
    return {"seq": seq, "type": type, "at": "2026-11-21T05:00:01Z", "step_key": None, "payload": payload}


def sse(*events: dict[str, Any]) -> str:
    return "retry: 1000\n\n" + "".join(f"id: {e['seq']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)


def problem(status: int, code: str, detail: str, **more: Any) -> httpx2.Response:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, **more}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json"})


def event_stream(text: str) -> httpx2.Response:
    return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})


class FakeServer:
    """Answers each request with the next of its answers; the last one stays. An exception is raised instead."""

    def __init__(self, *answers: httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]) -> None:
        self._answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []

    def client(self, **arguments: Any) -> Client:
        transport = httpx2.MockTransport(self._answer)
        return Client("http://server", transport=transport, sleep=self.pauses.append, **arguments)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)
