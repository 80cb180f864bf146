"""An event as one line for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ops_core.cli.terminal import shortened
from ops_core.domain.event import EventType

if TYPE_CHECKING:
    from ops_core.client import Event

#: Characters of an argument or of a result that a line shows.
_ARGUMENT, _RESULT = 60, 100

_STYLES = {
    EventType.task_completed: "bold green",
    EventType.task_failed: "bold red",
    EventType.task_canceled: "yellow",
    EventType.task_rejected: "yellow",
    EventType.task_waiting: "yellow",
    EventType.approval_requested: "yellow",
    EventType.input_requested: "yellow",
    EventType.task_retrying: "yellow",
    EventType.task_lease_lost: "yellow",
    EventType.llm_completed: "cyan",
    EventType.tool_started: "magenta",
    EventType.tool_completed: "magenta",
}


_WAITS = frozenset(
    {
        *(EventType.approval_requested, EventType.approval_decided),
        *(EventType.input_requested, EventType.input_received),
        *(EventType.signal_awaited, EventType.signal_received),
        *(EventType.timer_started, EventType.timer_fired, EventType.child_started, EventType.child_finished),
    }
)
#: Fields of a wait that say nothing to people.
_MACHINERY = frozenset({"fingerprint", "by", "arguments_schema", "schema", "result"})


def event_line(event: Event) -> Text:
    """Time, what happened, and the little of it that tells the most."""
    style = _STYLES.get(_type_of(event) or EventType.task_due, "")
    at = event.at.astimezone().strftime("%H:%M:%S") if event.at else "        "
    # Types are public words; only the half that differs between the lines of one task is shown in full.
    line = Text.assemble((at, "dim"), "  ", (f"{shortened(event.type, 40):<15}", style))
    if detail := event_detail(event):
        line.append("  " + detail)
    return line


def event_detail(event: Event) -> str:
    """What the payload says, shortened; empty when the type says it all."""
    payload = event.payload
    match _type_of(event):
        case EventType.llm_completed:
            return _model_step(payload)
        case EventType.tool_started:
            return _call(payload)
        case EventType.tool_completed:
            mark = "failed: " if payload.get("is_error") else ""
            result = shortened(str(payload.get("content", "")), _RESULT)
            return f"{_call(payload)} → {mark}{result}{_took(payload)}"
        case EventType.task_failed | EventType.task_retrying:
            return _error(payload)
        case EventType.task_completed:
            return ""
        case EventType.task_waiting:
            return f"for {payload.get('waiting_for', 'something outside')}"
        case EventType.task_resumed:
            return f"after waiting for {payload.get('waited_for', 'something outside')}"
        case kind if kind in _WAITS:
            return _wait(payload)
        case _:
            return _pairs(payload)


def _type_of(event: Event) -> EventType | None:
    try:
        return EventType(event.type)
    except ValueError:
        return None  # a newer server's


def _wait(payload: dict[str, Any]) -> str:
    """What is waited for, or what came of it."""
    request, answer = _object(payload.get("request")), _object(payload.get("answer"))
    told = answer or request
    for name in ("message", "question"):
        if isinstance(told.get(name), str) and told[name]:
            return shortened(told[name], 2 * _RESULT)
    by = told.get("by")
    said = {name: value for name, value in told.items() if name not in _MACHINERY}
    who = ", ".join(map(str, by)) if isinstance(by, list) else str(by or "")
    return shortened(_pairs(said) + (f" by {who}" if who else ""), 2 * _RESULT)


def _model_step(payload: dict[str, Any]) -> str:
    message = _object(payload.get("message"))
    calls = [call for call in message.get("tool_calls") or [] if isinstance(call, dict)]
    said = (
        "calls " + ", ".join(_call(call) for call in calls)
        if calls
        else shortened(str(message.get("text", "")), _RESULT)
    )
    usage = _object(payload.get("usage"))
    tokens = f", {usage.get('input_tokens', 0)} + {usage.get('output_tokens', 0)} tokens" if usage else ""
    return f"{said}  ({shortened(str(payload.get('model', 'model')), 40)}{tokens}{_took(payload, lead=', ', tail='')})"


def _call(payload: dict[str, Any]) -> str:
    arguments = _object(payload.get("arguments"))
    shown = ", ".join(f"{name}={shortened(_brief(value), _ARGUMENT)}" for name, value in arguments.items())
    return shortened(f"{payload.get('name', 'tool')}({shown})", 3 * _ARGUMENT)


def _error(payload: dict[str, Any]) -> str:
    error = _object(payload.get("error"))
    said = f"{error.get('code', 'error')}: {error.get('message', '')}" if error else _pairs(payload)
    return shortened(said, 2 * _RESULT)


def _took(payload: dict[str, Any], *, lead: str = "  (", tail: str = ")") -> str:
    seconds = payload.get("seconds")
    if not isinstance(seconds, int | float):
        return ""
    return f"{lead}{seconds * 1000:.0f} ms{tail}" if seconds < 1 else f"{lead}{seconds:.1f} s{tail}"


def _pairs(payload: dict[str, Any]) -> str:
    told = {name: value for name, value in payload.items() if value not in (None, "", {}, [])}
    return shortened(", ".join(f"{name} {_brief(value)}" for name, value in told.items()), 2 * _RESULT)


def _brief(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
