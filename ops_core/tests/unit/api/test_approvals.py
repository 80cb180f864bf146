"""Approvals over HTTP: what is shown, what may be said, and by whom."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalRequest
from ops_core.tests.fake_approvals import REFUND, FakeApprovals
from ops_core.tests.unit.api.conftest import AppMaker, http
from ops_core.tests.unit.api.test_bad_input import problem
from ops_core.wire.api_keys import read_api_keys

PATH = "/api/v1/approvals"
KEYS = read_api_keys(
    json.dumps(
        [
            {"key": "ada-key", "subject": "ada", "roles": ["approver"], "groups": ["finance"]},
            {"key": "bob-key", "subject": "bob", "roles": ["operator"], "groups": ["support"]},
            {"key": "eve-key", "subject": "eve", "roles": ["viewer"]},
            {"key": "own-key", "subject": "refund-desk", "roles": ["admin"], "agent": "refund-desk"},
        ]
    )
)


@asynccontextmanager
async def as_caller(make: AppMaker, key: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(make(keys=KEYS)) as client:
        client.headers["X-API-Key"] = key
        yield client


@pytest.fixture
def approval(approvals: FakeApprovals) -> Approval:
    """One that finance is to decide."""
    return approvals.ask(uuid4(), replace(REFUND, groups=("finance",), timeout_seconds=60))


async def decide(client: httpx2.AsyncClient, approval: Approval, **body: Any) -> httpx2.Response:
    return await client.post(f"{PATH}/{approval.id}/decide", json=body)


async def test_what_is_asked_is_shown_whole(client: httpx2.AsyncClient, approval: Approval) -> None:
    answer = await client.get(f"{PATH}/{approval.id}")
    told = answer.json()
    assert answer.status_code == 200
    assert (told["tool"], told["arguments"], told["groups"]) == ("refund", {"amount": 80, "to": "Ada"}, ["finance"])
    assert told["message"] == "Refund 80 EUR to Ada?"
    assert told["allowed"] == ["approve", "edit", "reject", "respond"]
    assert told["expires_at"].endswith("Z")


async def test_an_edit_is_kept_with_who_made_it_and_why(make: AppMaker, approval: Approval) -> None:
    async with as_caller(make, "ada-key") as client:
        arguments = {"amount": 60, "to": "Ada"}
        answer = await decide(client, approval, decision="edit", arguments=arguments, reason="it was 60")
    told = answer.json()
    assert (answer.status_code, told["status"]) == (200, "approved")
    (vote,) = told["votes"]
    assert (vote["by"], vote["groups"], vote["reason"], vote["arguments"]) == (
        "ada",
        ["finance"],
        "it was 60",
        arguments,
    )


async def test_the_same_said_again_is_answered_with_the_approval_as_it_is(
    client: httpx2.AsyncClient, approval: Approval
) -> None:
    first = await decide(client, approval, decision="approve")
    again = await decide(client, approval, decision="approve")
    assert (first.status_code, again.status_code) == (200, 200)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()


async def test_a_second_decision_hears_who_was_first(make: AppMaker, approval: Approval) -> None:
    async with as_caller(make, "ada-key") as client:
        await decide(client, approval, decision="approve")
        told = problem(await decide(client, approval, decision="reject"), 409, "approval_decided")
    assert "ada" in told["detail"]


async def test_a_decision_after_expiry(
    client: httpx2.AsyncClient, approvals: FakeApprovals, approval: Approval
) -> None:
    approvals.expire(approval)
    problem(await decide(client, approval, decision="approve"), 410, "approval_expired")


async def test_edited_arguments_that_break_the_schema(client: httpx2.AsyncClient, approval: Approval) -> None:
    answer = await decide(client, approval, decision="edit", arguments={"amount": 1_000, "to": "Ada"})
    told = problem(answer, 422, "decision_not_allowed")
    assert [one["pointer"] for one in told["errors"]] == ["/arguments/amount"]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("bob-key", "finance to decide, and bob is in support"),
        ("eve-key", "admin, operator or approver"),
        ("own-key", "an agent never decides"),
    ],
)
async def test_who_may_not_decide_hears_who_may(make: AppMaker, approval: Approval, key: str, says: str) -> None:
    async with as_caller(make, key) as client:
        told = problem(await decide(client, approval, decision="approve"), 403, "not_an_approver")
    assert says in told["detail"]


async def test_roles_are_asked_for_at_every_operation(make: AppMaker) -> None:
    async with as_caller(make, "eve-key") as client:
        answer = await client.post("/api/v1/tasks", json={"agent": "assistant", "goal": "x"})
        assert "submitter" in problem(answer, 403, "permission_denied")["detail"]
        assert (await client.get("/api/v1/tasks")).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/decision"),
        ({"decision": "maybe"}, "/decision"),
        ({"decision": "approve", "reason": 5}, "/reason"),
        ({"decision": "approve", "reason": "x" * 10_001}, "/reason"),
        ({"decision": "approve", "by": "ada"}, "/by"),
        ({"decision": "edit", "arguments": [1]}, "/arguments"),
        ({"decision": "edit"}, "/arguments"),
        ({"decision": "respond"}, "/response"),
        ({"decision": "reject", "response": None}, "/response"),
    ],
)
async def test_a_decision_that_cannot_be_one(
    make: AppMaker, approval: Approval, approvals: FakeApprovals, body: dict[str, Any], pointer: str
) -> None:
    async with http(make(max_body_bytes=100_000)) as client:
        answer = await decide(client, approval, **body)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]
    assert approvals.approvals[approval.id].votes == ()


async def test_a_question_is_answered_and_not_approved(client: httpx2.AsyncClient, approvals: FakeApprovals) -> None:
    question = approvals.ask(uuid4(), ApprovalRequest(reason=ApprovalReason.input_required, message="Which order?"))
    problem(await decide(client, question, decision="approve"), 422, "decision_not_allowed")
    answer = await decide(client, question, decision="respond", response="42")
    assert answer.json()["status"] == "responded"


async def test_an_approval_that_is_not_there(client: httpx2.AsyncClient) -> None:
    problem(await client.get(f"{PATH}/{uuid4()}"), 404, "approval_not_found")
    answer = await client.post(f"{PATH}/{uuid4()}/decide", json={"decision": "approve"})
    problem(answer, 404, "approval_not_found")
    problem(await client.get(f"{PATH}/not-an-id"), 422, "invalid_input")


async def test_lists_are_paged_with_a_link(client: httpx2.AsyncClient, approvals: FakeApprovals) -> None:
    for _ in range(3):
        approvals.ask(uuid4())
    first = await client.get(f"{PATH}?status=pending&limit=2")
    assert 'rel="next"' in first.headers["link"]
    second = await client.get(first.headers["link"].partition("<")[2].partition(">")[0])
    ids = [one["id"] for page in (first, second) for one in page.json()["data"]]
    assert (len(ids), len(set(ids)), second.json()["next_cursor"]) == (3, 3, None)


async def test_mine_are_those_i_may_decide(make: AppMaker, approvals: FakeApprovals, approval: Approval) -> None:
    approvals.ask(uuid4(), replace(REFUND, groups=("legal",)))
    async with as_caller(make, "ada-key") as client:
        found = (await client.get(f"{PATH}?mine=true")).json()["data"]
    assert [one["id"] for one in found] == [str(approval.id)]


async def test_the_beginning_of_an_id_is_enough_to_find_it(
    client: httpx2.AsyncClient, approvals: FakeApprovals, approval: Approval
) -> None:
    approvals.ask(uuid4())
    found = (await client.get(f"{PATH}?id_prefix={str(approval.id)[:-1]}")).json()["data"]
    assert [one["id"] for one in found] == [str(approval.id)]


@pytest.mark.parametrize(
    "query", ["status=maybe", "task_id=x", "limit=0", "cursor=x", "mine=perhaps", "unknown=1", "id_prefix=xyz"]
)
async def test_a_query_that_cannot_be_one(client: httpx2.AsyncClient, query: str) -> None:
    assert (await client.get(f"{PATH}?{query}")).status_code == 422
