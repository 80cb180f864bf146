"""Approvals over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from ops_core.api.door import PREFIX, DoorDep, next_page, reply
from ops_core.api.openapi import answers
from ops_core.api.strict_json import StrictRoute
from ops_core.wire.approvals import APPROVAL_EXAMPLE, ApprovalOut, ApprovalPageOut, ApprovalQueryIn, DecisionIn

router = APIRouter(prefix=f"{PREFIX}/approvals", tags=["approvals"], route_class=StrictRoute)


@router.get(
    "",
    responses=answers(
        ApprovalPageOut,
        {"data": [APPROVAL_EXAMPLE], "next_cursor": None},
        "Some approvals: pending ones with the nearest expiry first when only those are asked for, else newest first.",
    ),
)
async def list_approvals(request: Request, door: DoorDep, query: Annotated[ApprovalQueryIn, Query()]) -> Response:
    """List approvals. `?mine=true` gives those that you may decide."""
    page = await door.approvals.list(door.caller, query.to_filter(), limit=query.limit, cursor=query.cursor)
    return reply(ApprovalPageOut.from_domain(page), headers=next_page(request, page.next_cursor))


@router.get("/{approval_id}", responses=answers(ApprovalOut, APPROVAL_EXAMPLE, "The approval, with every vote."))
async def get_approval(approval_id: UUID, door: DoorDep) -> Response:
    """Get an approval."""
    return reply(ApprovalOut.from_domain(await door.approvals.get(door.caller, approval_id)))


@router.post(
    "/{approval_id}/decide",
    responses=answers(
        ApprovalOut,
        APPROVAL_EXAMPLE,
        "The approval as it stands now; still pending when more people must approve. `Idempotent-Replayed: true` when "
        "you had said the same before.",
    ),
)
async def decide_approval(approval_id: UUID, body: DecisionIn, door: DoorDep) -> Response:
    """Decide: approve, edit (approve with other arguments), reject, or respond in the tool's place."""
    voted = await door.approvals.decide(door.caller, approval_id, body.to_ruling())
    headers = {"Idempotent-Replayed": "true"} if voted.replayed else None
    return reply(ApprovalOut.from_domain(voted.approval), headers=headers)
