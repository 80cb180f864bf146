"""Approvals, as a client sees them: what people are asked, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from ops_core.client.answers import Approval, parsed
from ops_core.client.connection import Connection
from ops_core.client.pages import items_page_by_page
from ops_core.domain.approval import ApprovalStatus, Decision
from ops_core.domain.task import JsonObject, JsonValue

_PATH: Final = "/api/v1/approvals"


class Approvals:
    """The approvals of one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        statuses: Sequence[ApprovalStatus] = (),
        task_id: UUID | None = None,
        agent: str | None = None,
        mine: bool = False,
        id_prefix: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Approval]:
        """Pending ones with the nearest expiry first, others newest first, up to the limit. `mine`: those that this
        key may decide; pending ones, unless statuses are given."""
        narrowing: dict[str, Any] = {
            "status": [status.value for status in statuses] or None,
            "task_id": None if task_id is None else str(task_id),
            "agent": agent,
            "mine": "true" if mine else None,
            "id_prefix": id_prefix,
        }
        params = {name: value for name, value in narrowing.items() if value is not None}
        for item in items_page_by_page(self._connection, _PATH, params, limit=limit):
            yield parsed(Approval, item)

    def get(self, approval_id: UUID) -> Approval:
        """Raises:
        RequestRefused: approval_not_found.
        """
        return parsed(Approval, self._connection.get(f"{_PATH}/{approval_id}"))

    def approve(self, approval_id: UUID, *, reason: str | None = None) -> Approval:
        """Go on as asked; raises as `decide`."""
        return self.decide(approval_id, Decision.approve, reason=reason)

    def edit(self, approval_id: UUID, arguments: JsonObject, *, reason: str | None = None) -> Approval:
        """Go on with these arguments, which are all of them; raises as `decide`."""
        return self.decide(approval_id, Decision.edit, reason=reason, arguments=arguments)

    def reject(self, approval_id: UUID, *, reason: str | None = None) -> Approval:
        """Do not; the agent is told why. Raises as `decide`."""
        return self.decide(approval_id, Decision.reject, reason=reason)

    def respond(self, approval_id: UUID, response: JsonValue, *, reason: str | None = None) -> Approval:
        """Answer the question, or in the tool's place; raises as `decide`."""
        return self.decide(approval_id, Decision.respond, reason=reason, response=response)

    def decide(
        self,
        approval_id: UUID,
        decision: Decision,
        *,
        reason: str | None = None,
        arguments: JsonObject | None = None,
        response: JsonValue = None,
    ) -> Approval:
        """Say it, once: the same said again by the same key changes nothing.

        Raises:
            RequestRefused: approval_not_found, approval_decided, approval_expired, not_an_approver,
            decision_not_allowed.
        """
        body: JsonObject = {"decision": decision.value}
        if reason is not None:
            body["reason"] = reason
        if arguments is not None:
            body["arguments"] = arguments
        if decision is Decision.respond:
            body["response"] = response
        return parsed(Approval, self._connection.post_repeatable(f"{_PATH}/{approval_id}/decide", body))
