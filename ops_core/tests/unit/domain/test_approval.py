"""What votes decide: how many must agree, to exactly what, and what nobody's word leads to."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ops_core.domain.approval import (
    ApprovalReason,
    ApprovalRequest,
    ApprovalStatus,
    Decision,
    NewVote,
    expired,
    weighed,
)

ASKED = {"amount": 80}
PEOPLE = st.sampled_from(["ada", "bob", "cyd", "dee"])
ARGUMENTS = st.sampled_from([{"amount": 80}, {"amount": 8}, {"amount": True}, {"amount": 1}])


def request(required: int = 1, **changes: Any) -> ApprovalRequest:
    values: dict[str, Any] = {"reason": ApprovalReason.tool_call, "message": "?", "arguments": ASKED}
    return ApprovalRequest(**{**values, "fingerprint": "f", "required": required, **changes})


def approve(by: str) -> NewVote:
    return NewVote(decision=Decision.approve, by=by)


def edit(by: str, arguments: dict[str, Any]) -> NewVote:
    return NewVote(decision=Decision.edit, by=by, arguments=arguments)


def reject(by: str) -> NewVote:
    return NewVote(decision=Decision.reject, by=by, reason="no")


APPROVING = st.lists(st.one_of(PEOPLE.map(approve), st.builds(edit, PEOPLE, ARGUMENTS)), max_size=8)


def named(vote: NewVote) -> str:
    return repr(vote.arguments if vote.decision is Decision.edit else ASKED)


@given(votes=APPROVING, required=st.integers(1, 4))
def test_it_is_approved_exactly_when_so_many_people_last_named_the_same_arguments(
    votes: list[NewVote], required: int
) -> None:
    decided_after = None
    for n in range(1, len(votes) + 1):
        last = {vote.by: named(vote) for vote in votes[:n]}
        if max([*last.values()].count(one) for one in last.values()) >= required:
            decided_after = n
            break
    decided = weighed(request(required), votes)
    assert (decided is not None) == (decided_after is not None)
    if decided is not None and decided_after is not None:
        vote = votes[decided_after - 1]
        agreed = {by for by, one in {v.by: named(v) for v in votes[:decided_after]}.items() if one == named(vote)}
        assert (decided.status, {*decided.by}) == (ApprovalStatus.approved, agreed)
        assert repr(decided.answer.get("arguments", ASKED)) == named(vote)


@given(before=APPROVING, after=APPROVING, required=st.integers(1, 3))
def test_what_is_decided_stays_decided(before: list[NewVote], after: list[NewVote], required: int) -> None:
    decided = weighed(request(required), before)
    if decided is not None:
        assert weighed(request(required), [*before, *after]) == decided


@given(votes=APPROVING)
def test_one_rejection_decides_before_enough_agree(votes: list[NewVote]) -> None:
    decided = weighed(request(required=5), [*votes, reject("eve")])
    assert decided is not None
    assert (decided.status, decided.by) == (ApprovalStatus.rejected, ("eve",))
    assert (decided.answer["decision"], decided.answer["reason"]) == ("reject", "no")


def test_nobody_votes_twice() -> None:
    assert weighed(request(required=2), [approve("ada"), approve("ada")]) is None


def test_an_approval_that_crosses_an_edit_is_not_one_of_the_edit() -> None:
    votes = [edit("ada", {"amount": 8}), approve("bob")]
    assert weighed(request(required=2), votes) is None
    agreed = weighed(request(required=2), [*votes, edit("bob", {"amount": 8})])
    assert agreed is not None
    assert (agreed.answer["decision"], agreed.answer["arguments"]) == ("edit", {"amount": 8})


def test_true_is_not_one() -> None:
    assert weighed(request(required=2), [edit("ada", {"amount": 1}), edit("bob", {"amount": True})]) is None


def test_a_question_is_answered_or_declined_or_expires() -> None:
    question = request(reason=ApprovalReason.input_required, arguments=None, fingerprint=None)
    said = weighed(question, [NewVote(decision=Decision.respond, by="ada", response=None)])
    declined = weighed(question, [reject("ada")])
    assert said is not None
    assert declined is not None
    assert (said.status, said.answer) == (ApprovalStatus.responded, {"response": None, "by": "ada"})
    assert declined.answer == {"declined": True, "reason": "no", "by": "ada"}
    assert expired(question).answer == {"expired": True}


def test_what_nobody_decides_expires_for_the_call_it_was_asked_for() -> None:
    assert expired(request()).answer == {"decision": "expire", "by": [], "fingerprint": "f"}
    assert expired(request()).status is ApprovalStatus.expired


def test_a_request_survives_its_json() -> None:
    full = request(required=2, groups=("a",), escalate_to=("b",), timeout_seconds=5.0, allowed=(Decision.approve,))
    assert ApprovalRequest.from_json({**full.to_json(), "of a newer version": 1}) == full
