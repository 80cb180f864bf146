"""Approvals on both databases: asked by a suspend, decided once, kept for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from ops_core.domain.approval import NEVER, Approval, ApprovalReason, ApprovalStatus, OnTimeout
from ops_core.domain.outcome import Suspended
from ops_core.domain.task import TaskStatus
from ops_core.domain.wait import ChildWait
from ops_core.errors import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalNotFound,
    InvalidInput,
    NotAnApprover,
    TaskFinished,
)
from ops_core.ports import ApprovalQuery, Retention, Voted
from ops_core.storage.store import Store
from ops_core.tests.contract.store_cases import USAGE, claim, event_types, lease, new_task, submit_and_claim
from ops_core.tests.contract.test_store_trouble import lost_single_answers
from ops_core.tests.contract.wait_cases import (
    APPROVAL,
    ARGUMENTS,
    INPUT,
    answers,
    approval,
    asked,
    asked_of,
    cast,
    events,
    question,
    read,
    suspend,
    timer,
    vote,
    waiting,
)

PENDING = frozenset({ApprovalStatus.pending})
ABOUT_TASK: dict[str, Any] = {"reason": ApprovalReason.task, "tool": None}
ESCALATES: dict[str, Any] = {
    "timeout_seconds": 0.2,
    "on_timeout": OnTimeout.escalate,
    "escalate_to": ("bosses",),
    "groups": ("staff",),
}


async def again(store: Store, one: Approval) -> Approval:
    found = await store.get_approval("default", one.id)
    assert found is not None
    return found


async def test_an_approval_wakes_the_task_with_the_decision(store: Store) -> None:
    one = await asked(store)
    voted = await cast(store, one, groups=("finance",), reason="go")
    assert (voted.approval.status, voted.replayed, [r.task_id for r in voted.rings]) == (
        "approved",
        False,
        [one.task_id],
    )
    assert await answers(store, one.task_id) == {
        APPROVAL: {"decision": "approve", "reason": "go", "by": ["ada"], "fingerprint": "f" * 64}
    }
    assert (await event_types(store, one.task_id))[-2:] == ["approval.decided", "task.resumed"]
    kept = await again(store, one)
    assert kept == voted.approval
    (said,) = kept.votes
    assert (said.by, said.groups, said.reason, said.at) == ("ada", ("finance",), "go", kept.decided_at)
    (running,) = await claim(store)
    assert (running.id, running.attempt) == (one.task_id, 1)


@pytest.mark.parametrize(
    ("decision", "said", "status", "answer"),
    [
        ("reject", {"reason": "too much"}, "rejected", {"decision": "reject", "reason": "too much"}),
        ("edit", {"arguments": {"amount": 8.0}}, "approved", {"decision": "edit", "arguments": {"amount": 8.0}}),
        ("respond", {"response": None}, "responded", {"decision": "respond", "response": None}),
        ("respond", {"response": "a\x00b"}, "responded", {"decision": "respond", "response": "a\x00b"}),
    ],
)
async def test_a_person_can_say_other_things_too(
    store: Store, decision: str, said: dict[str, Any], status: str, answer: dict[str, Any]
) -> None:
    one = await asked(store)
    assert (await cast(store, one, decision=decision, **said)).approval.status == status
    told = {"reason": None, "by": ["ada"], "fingerprint": "f" * 64, **answer}
    assert await answers(store, one.task_id) == {APPROVAL: told}


@pytest.mark.parametrize(
    ("decision", "said", "answer"),
    [
        ("respond", {"response": {"city": "Oslo"}}, {"response": {"city": "Oslo"}, "by": "ada"}),
        ("reject", {"reason": "ask Bob"}, {"declined": True, "reason": "ask Bob", "by": "ada"}),
    ],
)
async def test_a_question_is_answered_where_approvals_are(
    store: Store, decision: str, said: dict[str, Any], answer: dict[str, Any]
) -> None:
    task = await waiting(store, question())
    (one,) = await asked_of(store, task)
    await cast(store, one, decision=decision, **said)
    assert await answers(store, task.id) == {INPUT: answer}
    assert len(await events(store, task.id, "input.received")) == 1


async def test_several_must_agree_when_the_policy_says_so(store: Store) -> None:
    one = await asked(store, required=2)
    first = await cast(store, one)
    assert (first.approval.status, first.rings) == (ApprovalStatus.pending, [])
    assert (await read(store, one.task_id)).status is TaskStatus.waiting
    assert (await cast(store, one)).replayed
    (said,) = await events(store, one.task_id, "approval.voted")
    assert (said.payload["by"], said.payload["approval_id"]) == ("ada", str(one.id))
    assert (await cast(store, one, "bob")).approval.status is ApprovalStatus.approved
    assert (await answers(store, one.task_id))[APPROVAL]["by"] == ["ada", "bob"]


async def test_who_has_approved_can_agree_to_an_edit_and_all_that_was_said_is_kept(store: Store) -> None:
    one = await asked(store, required=2)
    edited = {**ARGUMENTS, "amount": 8}
    await cast(store, one)
    assert (await cast(store, one, "bob", "edit", arguments=edited)).approval.status is ApprovalStatus.pending
    assert (await cast(store, one, "ada", "edit", arguments=edited)).approval.status is ApprovalStatus.approved
    answer = (await answers(store, one.task_id))[APPROVAL]
    assert (answer["decision"], answer["arguments"], answer["by"]) == ("edit", edited, ["bob", "ada"])
    assert [(v.by, v.decision) for v in (await again(store, one)).votes] == [
        ("ada", "approve"),
        ("bob", "edit"),
        ("ada", "edit"),
    ]


async def test_one_and_true_are_two_edits(store: Store) -> None:
    one = await asked(store, required=2)
    for value in (True, 1):
        voted = await cast(store, one, "ada", "edit", arguments={**ARGUMENTS, "amount": value})
        assert not voted.replayed
    assert len((await again(store, one)).votes) == 2


async def test_a_second_decision_is_told_who_was_first_with_what_and_when(store: Store) -> None:
    one = await asked(store)
    decided = (await cast(store, one)).approval
    assert decided.decided_at is not None
    with pytest.raises(ApprovalDecided, match=f"ada decided at {decided.decided_at:%Y-%m-%d}.*approve") as refused:
        await cast(store, one, "bob", "reject")
    assert refused.value.code == "approval_decided"
    same = await cast(store, one)
    assert (same.replayed, same.approval, same.rings) == (True, decided, [])
    with pytest.raises(ApprovalDecided):
        await cast(store, one, "ada", "reject")
    assert await again(store, one) == decided


async def test_what_is_not_there_or_of_another_namespace_is_not_found(store: Store) -> None:
    one = await asked(store)
    assert await store.get_approval("b", one.id) is None
    assert await store.get_approval("default", uuid4()) is None
    for namespace, id in (("b", one.id), ("default", uuid4())):
        with pytest.raises(ApprovalNotFound):
            await store.vote(namespace, id, vote(), check=lambda _: None)


async def test_what_the_check_forbids_leaves_no_trace(store: Store) -> None:
    one = await asked(store)

    def refuse(current: Approval) -> None:
        assert current == one
        raise NotAnApprover("not you")

    with pytest.raises(NotAnApprover):
        await store.vote("default", one.id, vote(), check=refuse)
    with pytest.raises(InvalidInput):
        await cast(store, one, "a\x00b")
    with pytest.raises(InvalidInput):
        await cast(store, one, decision="respond", response=float("nan"))
    assert await again(store, one) == one


async def test_after_its_time_nobody_can_decide_whether_or_not_it_was_swept(store: Store) -> None:
    one = await asked(store, timeout_seconds=0.1)
    await asyncio.sleep(0.15)
    with pytest.raises(ApprovalExpired):
        await cast(store, one)
    (ring,) = await store.release_due(limit=10)
    assert ring.task_id == one.task_id
    assert (await again(store, one)).status is ApprovalStatus.expired
    assert (await answers(store, one.task_id))[APPROVAL]["decision"] == "expire"
    with pytest.raises(ApprovalExpired):
        await cast(store, one)


async def test_another_group_is_asked_once_and_then_it_expires(store: Store) -> None:
    one = await asked(store, **ESCALATES)
    assert one.groups == ("staff",)
    await asyncio.sleep(0.25)
    assert await store.release_due(limit=10) == []
    handed = await again(store, one)
    assert (handed.status, handed.groups) == (ApprovalStatus.pending, ("bosses",))
    (said,) = await events(store, one.task_id, "approval.escalated")
    assert said.payload["groups"] == ["bosses"]
    assert 0 < (await store.seconds_until_due() or 0) <= 0.2
    await asyncio.sleep(0.25)
    assert len(await store.release_due(limit=10)) == 1
    assert (await again(store, one)).status is ApprovalStatus.expired


async def test_who_votes_when_it_is_to_be_handed_on_is_judged_as_if_it_had_been(store: Store) -> None:
    one = await asked(store, **ESCALATES)
    await asyncio.sleep(0.25)
    seen: list[tuple[str, ...]] = []
    voted = await store.vote("default", one.id, vote(), check=lambda current: seen.append(current.groups))
    assert (seen, voted.approval.status) == ([("bosses",)], ApprovalStatus.approved)
    assert (await event_types(store, one.task_id))[-3:] == ["approval.escalated", "approval.decided", "task.resumed"]


async def test_a_vote_that_decides_nothing_keeps_the_new_time_of_what_was_handed_on(store: Store) -> None:
    one = await asked(store, required=2, **ESCALATES)
    await asyncio.sleep(0.25)
    await cast(store, one)
    assert await store.release_due(limit=10) == []
    assert 0 < (await store.seconds_until_due() or 0) <= 0.2
    assert (await again(store, one)).status is ApprovalStatus.pending


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_task_that_is_asked_about_itself_runs_or_is_rejected(store: Store, decision: str) -> None:
    one = await asked(store, **ABOUT_TASK)
    voted = await cast(store, one, decision=decision, reason="not today")
    task = await read(store, one.task_id)
    if decision == "approve":
        assert (task.status, len(voted.rings)) == (TaskStatus.queued, 1)
        return
    assert (task.status, voted.rings, task.finished_at) == (TaskStatus.rejected, [], voted.approval.decided_at)
    assert task.error is not None
    assert (task.error.code, task.error.message) == ("rejected", "ada rejected the task: not today")
    assert (await event_types(store, task.id))[-2:] == ["approval.decided", "task.rejected"]


async def test_a_task_that_nobody_approves_in_time_is_rejected(store: Store) -> None:
    task = await waiting(
        store, approval("0/task/approval", timeout_seconds=0.05, **ABOUT_TASK), timer(0.05), question()
    )
    await asyncio.sleep(0.1)
    assert await store.release_due(limit=10) == []
    ended = await read(store, task.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == (TaskStatus.rejected, "approval_expired")
    assert (await event_types(store, task.id))[-1] == "task.rejected"
    assert [one.status for one in await asked_of(store, task)] == ["expired", "closed"]


@pytest.mark.parametrize("by_clock", [False, True])
async def test_the_parent_of_a_rejected_child_goes_on(store: Store, by_clock: bool) -> None:
    parent = await submit_and_claim(store)
    child = ChildWait(key="1/tool/1/child/1", child=new_task(queue="children", depth=1))
    await suspend(store, parent, child)
    (running,) = await claim(store, queue="children")
    wait = approval("0/task/approval", timeout_seconds=0.05 if by_clock else None, **ABOUT_TASK)
    await store.finish(lease(running), Suspended(waits=(wait,), usage=USAGE), parent_id=parent.id)
    (one,) = await asked_of(store, running)
    if by_clock:
        await asyncio.sleep(0.1)
        rings = await store.release_due(limit=10)
    else:
        rings = (await cast(store, one, decision="reject")).rings
    assert [ring.task_id for ring in rings] == [parent.id]
    assert (await answers(store, parent.id))["1/tool/1/child/1"]["status"] == "rejected"


async def test_what_a_task_did_not_wait_for_to_the_end_can_not_be_decided(store: Store) -> None:
    one = await asked(store)
    await store.cancel_task("default", one.task_id, by="me")
    with pytest.raises(TaskFinished, match="canceled"):
        await cast(store, one)
    assert (await again(store, one)).status is ApprovalStatus.closed


async def test_who_decided_is_told_also_when_the_task_is_gone(store: Store) -> None:
    one = await asked(store)
    await cast(store, one)
    await store.cancel_task("default", one.task_id, by="me")
    # The policy counts in milliseconds.
    await asyncio.sleep(0.01)
    policy = Retention(unhappy_seconds=0.001)
    assert (await store.prune_tasks(policy=policy, after=None, limit=10)).tasks == 1
    with pytest.raises(ApprovalDecided, match="ada decided"):
        await cast(store, one, "bob", "reject")


async def test_pending_ones_are_listed_with_the_nearest_expiry_first(store: Store) -> None:
    ones = [await asked(store, timeout_seconds=seconds) for seconds in (900, None, 300, 600, None)]
    wanted = [ones[n].id for n in (2, 3, 0, 1, 4)]
    query = ApprovalQuery(namespace="default", statuses=PENDING, limit=2)
    listed: list[Approval] = []
    while page := await store.list_approvals(query):
        listed += page
        last = page[-1]
        query = replace(query, before=(last.expires_at or NEVER, last.id))
    assert [one.id for one in listed] == wanted
    assert [one.id for one in await store.list_approvals(replace(query, before=None, limit=10))] == wanted


async def test_others_are_listed_newest_first(store: Store) -> None:
    ones = [await asked(store) for _ in range(5)]
    await cast(store, ones[1])
    query = ApprovalQuery(namespace="default", limit=2)
    listed: list[Approval] = []
    while page := await store.list_approvals(query):
        listed += page
        query = replace(query, before=(page[-1].created_at, page[-1].id))
    assert [one.id for one in listed] == [one.id for one in reversed(ones)]
    assert listed[-2].votes[0].by == "ada"
    approved = ApprovalQuery(namespace="default", statuses=frozenset({ApprovalStatus.approved}))
    assert [one.id for one in await store.list_approvals(approved)] == [ones[1].id]


async def test_lists_can_be_narrowed(store: Store) -> None:
    every = await asked(store)
    finance = await asked(store, task={"agent": "payer"}, groups=("finance", "it's %"))
    nul = await asked(store, groups=("hr",), message="a\x00b", arguments={"text": "a\x00b"})

    async def ids(**filter: Any) -> set[Any]:
        return {one.id for one in await store.list_approvals(ApprovalQuery(namespace="default", **filter))}

    assert await ids() == {every.id, finance.id, nul.id}
    assert await ids(agent="payer") == {finance.id}
    assert await ids(task_id=nul.task_id) == {nul.id}
    assert await ids(id_prefix=nul.id.hex[:30]) == {nul.id}
    assert await ids(id_prefix=every.id.hex, statuses=PENDING) == {every.id}
    assert await ids(id_prefix="0" * 8) == set()
    assert await ids(groups=frozenset()) == {every.id}
    assert await ids(groups=frozenset({"finance", "x"}), statuses=PENDING) == {every.id, finance.id}
    assert await ids(groups=frozenset({"hr"})) == {every.id, nul.id}
    assert await store.list_approvals(ApprovalQuery(namespace="b")) == []


async def test_who_is_asked_in_a_list_is_who_is_asked_now(store: Store) -> None:
    one = await asked(store, **ESCALATES)
    await asyncio.sleep(0.25)
    await store.release_due(limit=10)
    for group, found in (("staff", []), ("bosses", [one.id])):
        query = ApprovalQuery(namespace="default", groups=frozenset({group}))
        assert [each.id for each in await store.list_approvals(query)] == found


@pytest.mark.parametrize("times", [1, 2])
async def test_a_vote_whose_answer_was_lost_counts_once_and_is_rung(store: Store, times: int) -> None:
    one = await asked(store)
    with lost_single_answers(store, times):
        voted = await cast(store, one)
    assert (voted.replayed, len(voted.rings), len(voted.approval.votes)) == (False, 1, 1)
    assert len((await again(store, one)).votes) == 1


async def test_of_two_that_decide_at_once_one_is_told_of_the_other(store: Store) -> None:
    for n in range(20):
        one = await asked(store, task={"queue": f"q{n}"})
        outcomes = await asyncio.gather(
            cast(store, one, "ada"), cast(store, one, "bob", "reject"), return_exceptions=True
        )
        (voted,) = [outcome for outcome in outcomes if isinstance(outcome, Voted)]
        (refused,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert isinstance(refused, ApprovalDecided)
        winner = voted.approval.votes[0].by
        assert winner in refused.detail
        assert await again(store, one) == voted.approval
        assert len(await events(store, one.task_id, "approval.decided")) == 1


async def test_votes_at_once_count_each_person_once(store: Store) -> None:
    for n in range(5):
        one = await asked(store, task={"queue": f"q{n}"}, required=3)
        votes = [cast(store, one, by) for by in ("ada", "bob", "cyd") for _ in range(3)]
        voted = await asyncio.gather(*votes)
        assert sum(not each.replayed for each in voted) == 3
        assert sum(len(each.rings) for each in voted) == 1
        assert (await again(store, one)).status is ApprovalStatus.approved


async def test_a_vote_and_its_expiry_at_once_agree(store: Store) -> None:
    statuses = set()
    for n in range(12):
        one = await asked(store, task={"queue": f"q{n}"}, timeout_seconds=0.05)

        async def voted_late(one: Approval = one, n: int = n) -> Voted:
            await asyncio.sleep(0.035 + n * 0.002)
            return await cast(store, one)

        async def swept(one: Approval = one) -> None:
            while (await again(store, one)).status is ApprovalStatus.pending:
                await store.release_due(limit=10)

        outcome, _ = await asyncio.gather(voted_late(), swept(), return_exceptions=True)
        found = await again(store, one)
        statuses.add(found.status)
        assert isinstance(outcome, Voted) == (found.status is ApprovalStatus.approved)
        assert isinstance(outcome, Voted | ApprovalExpired), outcome
        assert (await read(store, one.task_id)).status is TaskStatus.queued
        assert len(await events(store, one.task_id, "approval.decided")) == 1
    assert statuses <= {ApprovalStatus.approved, ApprovalStatus.expired}


async def test_a_vote_and_a_cancel_at_once_agree(store: Store) -> None:
    for _ in range(20):
        one = await asked(store)
        outcome, _ = await asyncio.gather(
            cast(store, one), store.cancel_task("default", one.task_id, by="me"), return_exceptions=True
        )
        found = await again(store, one)
        assert (await read(store, one.task_id)).status is TaskStatus.canceled
        if isinstance(outcome, Voted):
            assert found.status is ApprovalStatus.approved
        else:
            assert isinstance(outcome, TaskFinished)
            assert (found.status, found.votes) == (ApprovalStatus.closed, [])
