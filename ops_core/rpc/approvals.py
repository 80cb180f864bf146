"""The gRPC door to approvals."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from ops_core.rpc.call import Call
from ops_core.rpc.paging import fitting_page, page_size
from ops_core.services.approvals import ApprovalService
from ops_core.services.limits import TaskLimits
from ops_core.wire.pb.v1 import approvals_pb2 as pb
from ops_core.wire.protobuf_approvals import (
    approval_id_from,
    approval_message,
    filter_from,
    page_message,
    ruling_from,
    voted_message,
)

_DEFAULT_APPROVALS = 50


class ApprovalServicer:
    """Each method: translate in, call one service method, translate out."""

    def __init__(self, *, approvals: ApprovalService, limits: TaskLimits) -> None:
        self._approvals = approvals
        self._limits = limits

    async def ListApprovals(self, request: pb.ListApprovalsRequest, call: Call) -> pb.ListApprovalsResponse:
        limit = page_size(request.page_size, default=_DEFAULT_APPROVALS, most=self._limits.max_page)
        wanted, cursor = filter_from(request), request.page_token or None

        async def read(limit: int) -> tuple[pb.ListApprovalsResponse, int]:
            page = await self._approvals.list(call.caller, wanted, limit=limit, cursor=cursor)
            return page_message(page), len(page.approvals)

        return await fitting_page(limit, read)

    async def GetApproval(self, request: pb.GetApprovalRequest, call: Call) -> pb.Approval:
        return approval_message(await self._approvals.get(call.caller, approval_id_from(request.id)))

    async def DecideApproval(self, request: pb.DecideApprovalRequest, call: Call) -> pb.DecideApprovalResponse:
        approval_id, ruling = approval_id_from(request.id), ruling_from(request)
        return voted_message(await self._approvals.decide(call.caller, approval_id, ruling))
