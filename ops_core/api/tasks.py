"""Tasks over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from ops_core.api.door import (
    KEY_DESCRIPTION,
    PREFIX,
    Door,
    DoorDep,
    IdempotencyKey,
    door_of,
    next_page,
    reply,
)
from ops_core.api.long_wait import patience_seconds, unless_interrupted
from ops_core.api.openapi import answers
from ops_core.api.strict_json import DirectRoute, StrictRoute
from ops_core.domain.task import Task
from ops_core.errors import FieldProblem, InvalidInput
from ops_core.wire.forks import ForkIn
from ops_core.wire.tasks import (
    TASK_EXAMPLE,
    BatchIn,
    BatchOut,
    ChildrenQueryIn,
    RetryIn,
    TaskIn,
    TaskListOut,
    TaskOut,
    TaskPageOut,
    TaskQueryIn,
    TimeoutQueryIn,
    WaitQueryIn,
)

router = APIRouter(prefix=f"{PREFIX}/tasks", tags=["tasks"], route_class=StrictRoute)

_PREFER_DESCRIPTION = "`wait=30`: as `?wait=30` (RFC 7240)."
Prefer = Annotated[str | None, Header(alias="Prefer", description=_PREFER_DESCRIPTION)]
_USUAL_WAIT_SECONDS = 30.0
# The parameters of a submit, which reads them itself: it is the hottest operation, and goes by a DirectRoute.
_SUBMIT_PARAMETERS = [
    {
        "name": "wait",
        "in": "query",
        "description": WaitQueryIn.model_fields["wait"].description,
        "schema": {"type": "number", "minimum": 0},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": KEY_DESCRIPTION,
        "schema": {"type": "string", "maxLength": 255},
    },
    {"name": "Prefer", "in": "header", "description": _PREFER_DESCRIPTION, "schema": {"type": "string"}},
]
_HEADERS = {
    "Location": {"description": "The task.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {"description": "`true` when the task was there before.", "schema": {"type": "string"}},
}


async def submit_task(body: TaskIn, request: Request) -> Response:
    """Submit a task."""
    door, headers = door_of(request), request.headers
    wait = _wait_query(request) if request.scope["query_string"] else None
    patience = patience_seconds(wait, headers.get("prefer"), longest=door.config.limits.max_wait_seconds)
    idempotency_key = headers.get("idempotency-key")
    _check_one_key(idempotency_key, body.idempotency_key)
    submission = body.to_submission(idempotency_key=idempotency_key, traceparent=door.traceparent)
    submitted = await door.tasks.submit(door.caller, submission)
    task = await _waited(request, door, submitted.task, patience)
    answered = {"Location": f"{PREFIX}/tasks/{task.id}"}
    if submitted.replayed:
        answered["Idempotent-Replayed"] = "true"
    if wait is None and patience:
        answered["Preference-Applied"] = f"wait={patience:g}"
    return reply(TaskOut.from_domain(task), 200 if submitted.replayed else 201, answered)


router.add_api_route(
    "",
    submit_task,
    methods=["POST"],
    route_class_override=DirectRoute,
    status_code=201,
    openapi_extra={"parameters": _SUBMIT_PARAMETERS},
    responses=answers(
        TaskOut,
        TASK_EXAMPLE,
        "The task is kept and will run.",
        status=201,
        more={
            200: {
                "model": TaskOut,
                "description": "The idempotency key was known: the first task.",
                "headers": _HEADERS,
            }
        },
    ),
)


@router.post(
    "/batch",
    status_code=201,
    responses=answers(
        BatchOut, {"data": [TASK_EXAMPLE], "replayed": []}, "The tasks, in the order of the request.", status=201
    ),
)
async def submit_batch(body: BatchIn, door: DoorDep, idempotency_key: IdempotencyKey = None) -> Response:
    """Submit several tasks. All are checked before the first is added.

    `Idempotency-Key` stands for a key of each task that has none of its own: `<key>:<index>`.
    """
    submissions = [
        task.to_submission(
            idempotency_key=None if idempotency_key is None else f"{idempotency_key}:{index}",
            traceparent=door.traceparent,
        )
        for index, task in enumerate(body.tasks)
    ]
    submitted = await door.tasks.submit_batch(door.caller, submissions)
    return reply(BatchOut.from_domain(submitted), 201)


@router.get(
    "", responses=answers(TaskPageOut, {"data": [TASK_EXAMPLE], "next_cursor": None}, "Some tasks, newest first.")
)
async def list_tasks(request: Request, door: DoorDep, query: Annotated[TaskQueryIn, Query()]) -> Response:
    """List tasks, newest first."""
    page = await door.tasks.list(door.caller, query.to_filter(), limit=query.limit, cursor=query.cursor)
    return reply(TaskPageOut.from_domain(page), headers=next_page(request, page.next_cursor))


@router.get("/{task_id}", responses=answers(TaskOut, TASK_EXAMPLE, "The task as it stands."))
async def get_task(
    task_id: UUID, request: Request, door: DoorDep, query: Annotated[WaitQueryIn, Query()], prefer: Prefer = None
) -> Response:
    """Get a task; with `?wait=30`, once it has finished or when the time is over."""
    patience = patience_seconds(query.wait, prefer, longest=door.config.limits.max_wait_seconds)
    task = await door.tasks.get(door.caller, task_id)
    return reply(TaskOut.from_domain(await _waited(request, door, task, patience)))


@router.get("/{task_id}/wait", responses=answers(TaskOut, TASK_EXAMPLE, "The task: finished, or as it is by now."))
async def wait_for_task(
    task_id: UUID, request: Request, door: DoorDep, query: Annotated[TimeoutQueryIn, Query()]
) -> Response:
    """Wait until a task has finished. When the time is over the answer is the task as it is, not an error."""
    longest = door.config.limits.max_wait_seconds
    timeout = min(_USUAL_WAIT_SECONDS, longest) if query.timeout is None else query.timeout
    patience = patience_seconds(timeout, None, longest=longest, name="timeout")
    task = await door.tasks.get(door.caller, task_id)
    return reply(TaskOut.from_domain(await _waited(request, door, task, patience)))


@router.post("/{task_id}/cancel", responses=answers(TaskOut, TASK_EXAMPLE, "Canceled, or asked to stop."))
async def cancel_task(task_id: UUID, door: DoorDep) -> Response:
    """Cancel a task. One that runs has `cancel_requested_at` set and stops as soon as its worker hears of it."""
    return reply(TaskOut.from_domain(await door.tasks.cancel(door.caller, task_id)))


@router.post("/{task_id}/retry", responses=answers(TaskOut, TASK_EXAMPLE, "Queued again, in its next round."))
async def retry_task(task_id: UUID, door: DoorDep, body: RetryIn | None = None) -> Response:
    """Retry a finished task: from its journal, from a step, or from scratch."""
    retry = RetryIn() if body is None else body
    task = await door.tasks.retry(door.caller, task_id, retry_from=retry.retry_from, before_step=retry.step)
    return reply(TaskOut.from_domain(task))


@router.post(
    "/{task_id}/fork",
    status_code=201,
    responses=answers(
        TaskOut,
        TASK_EXAMPLE,
        "The new task.",
        status=201,
        more={
            200: {
                "model": TaskOut,
                "description": "The idempotency key was known: the first fork.",
                "headers": _HEADERS,
            }
        },
    ),
)
async def fork_task(task_id: UUID, body: ForkIn, door: DoorDep, idempotency_key: IdempotencyKey = None) -> Response:
    """Make a new task from the steps of a finished one, with other instructions, another model or another input."""
    _check_one_key(idempotency_key, body.idempotency_key)
    request = body.to_request(idempotency_key=idempotency_key, traceparent=door.traceparent)
    forked = await door.tasks.fork(door.caller, task_id, request)
    headers = {"Location": f"{PREFIX}/tasks/{forked.task.id}"}
    if forked.replayed:
        headers["Idempotent-Replayed"] = "true"
    return reply(TaskOut.from_domain(forked.task), 200 if forked.replayed else 201, headers)


@router.get(
    "/{task_id}/children",
    responses=answers(TaskPageOut, {"data": [TASK_EXAMPLE], "next_cursor": None}, "Some tasks, oldest first."),
)
async def list_children(
    task_id: UUID, request: Request, door: DoorDep, query: Annotated[ChildrenQueryIn, Query()]
) -> Response:
    """List the tasks that a task has called, of all rounds, oldest first."""
    page = await door.tasks.children(door.caller, task_id, limit=query.limit, cursor=query.cursor)
    return reply(TaskPageOut.from_domain(page), headers=next_page(request, page.next_cursor))


@router.get(
    "/{task_id}/ancestors",
    responses=answers(TaskListOut, {"data": [TASK_EXAMPLE], "next_cursor": None}, "The tasks, itself first."),
)
async def list_ancestors(task_id: UUID, door: DoorDep) -> Response:
    """List the chain above a task: itself, the task that called it, and so on up."""
    return reply(TaskListOut.from_domain(await door.tasks.ancestors(door.caller, task_id)))


def _wait_query(request: Request) -> float | None:
    try:
        return WaitQueryIn.model_validate(dict(request.query_params)).wait
    except ValidationError as exc:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in exc.errors()]) from exc


def _check_one_key(header: str | None, body: str | None) -> None:
    if header is not None and body is not None and header != body:
        detail = "is not the same as the Idempotency-Key header: give one of them"
        raise InvalidInput(f"`idempotency_key` {detail}.", problems=[FieldProblem("/idempotency_key", detail)])


async def _waited(request: Request, door: Door, task: Task, patience: float) -> Task:
    """The task after waiting for it; as it is when the wait was cut short."""
    if patience <= 0 or task.status.is_final:
        return task
    waiting = door.tasks.wait(door.caller, task.id, timeout_seconds=patience)
    return await unless_interrupted(request, door.draining, waiting) or task
