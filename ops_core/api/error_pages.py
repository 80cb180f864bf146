"""A page for each error code: what it means and what to do. Problem details link here by their `type`."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from ops_core.api.errors import http_status
from ops_core.errors import NotFound, OpsCoreError

router = APIRouter(tags=["system"], include_in_schema=False)

#: What each code means and what to do about it.
EXPLANATIONS = {
    "internal": "Something went wrong on the server's side. Its log has the details under the problem's request_id.",
    "invalid_input": "The request was understood and cannot be right. The problem's errors name each field, by a JSON "
    "pointer, and say what would be right.",
    "malformed_request": "The body could not be read: it is not UTF-8, not JSON, or nested too deep.",
    "payload_too_large": "The body, or the number of tasks in it, is over a limit. GET /api/v1/info tells the limits.",
    "unsupported_content_type": "Bodies are JSON: send Content-Type: application/json.",
    "method_not_allowed": "The path exists but does not take this method. The Allow header names those it takes.",
    "input_schema_mismatch": "The task's input does not fit the agent's input schema. GET /api/v1/agents/{name} shows "
    "the schema.",
    "cursor_malformed": "A cursor works only as it was given, with the filters of the page it came from. Leave it out "
    "to begin at the first page.",
    "idempotency_key_reused": "The Idempotency-Key was used before for another request. Use a new key for a new "
    "request, and the same key only to send the very same request again.",
    "model_not_configured": "The agent's model needs a key that is not set where the server runs. Set it, or choose "
    "another model for the agent.",
    "step_not_found": "The task has no such step in its last round. GET /api/v1/tasks/{id}/events shows its steps: the "
    "number before the first slash of a step_key.",
    "decision_not_allowed": "The approval does not offer this decision, or what came with it does not fit: edited "
    "arguments have to fit arguments_schema, a response response_schema. The problem's errors name each place.",
    "too_many_signals": "The task keeps as many signals as it may that nobody has waited for. Nothing was added.",
    "not_found": "There is nothing at this address.",
    "task_not_found": "There is no task with this id. It may have been removed after its time of retention.",
    "agent_not_found": "There is no agent with this name. GET /api/v1/agents lists those there are.",
    "approval_not_found": "There is no approval with this id. GET /api/v1/approvals lists those there are.",
    "schedule_not_found": "There is no schedule of this name. GET /api/v1/schedules lists those there are.",
    "conflict": "The task is not in a state that allows this. Get the task to see how it stands.",
    "task_finished": "The task has finished: it can no longer be canceled, and takes no signals. Retry reopens it.",
    "task_not_finished": "Only a finished task can be retried or forked. Cancel it first, or wait for it.",
    "approval_decided": "Somebody has decided this approval before, or its task has gone on without it. The detail "
    "says who, what and when; nothing was changed.",
    "approval_expired": "Nobody decided this approval in time, and the agent was told so. Nothing was changed.",
    "schedule_exists": "There is a schedule of this name. Change that one, or choose another name.",
    "schedule_changed": "Somebody changed the schedule after you had read it. Read it again, and then change it.",
    "unauthenticated": "The server wants an API key it knows, as Authorization: Bearer <key> or X-API-Key: <key>.",
    "permission_denied": "The caller is known and may not do this: the detail names the roles that may. A server "
    "without an API key answers to localhost only.",
    "not_an_approver": "This approval is for others to decide: the detail names the groups or roles. The key of an "
    "agent never decides.",
    "unavailable": "The server cannot do this just now. Try again after the time that Retry-After names.",
    "store_unavailable": "The database cannot be reached. Nothing was lost; try again. With an idempotency key a "
    "submit can be repeated safely.",
    "broker_unavailable": "The message broker cannot be reached. Submitted tasks are kept and run when it is back.",
    "run_lost": "A worker's run was over before it wrote its result; another worker goes on. Clients never see this.",
    "illegal_transition": "A programming error in the server: please report it with the request_id.",
    "configuration_invalid": "A setting or a file of the server is wrong. The detail names it; its operator must act.",
    "agent_file_invalid": "An agent's file is wrong. The detail names file, line and field; its operator must act.",
}


def error_kinds(kind: type[OpsCoreError] = OpsCoreError) -> Iterator[type[OpsCoreError]]:
    """Every kind of error in the tree."""
    yield kind
    for below in kind.__subclasses__():
        yield from error_kinds(below)


@router.get("/errors/{code}")
async def explain_error(code: str) -> Response:
    """What an error code means."""
    kind = next((kind for kind in error_kinds() if kind.code == code), None)
    if kind is None:
        raise NotFound("There is no such error code.")
    explanation = escape(EXPLANATIONS.get(code, kind.title + "."))
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{code}</title>'
        f"<h1><code>{code}</code></h1><p>{escape(kind.title)} (HTTP {http_status(kind)}).</p>"
        f"<p>{explanation}</p></html>"
    )
