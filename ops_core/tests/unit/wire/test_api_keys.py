"""The list of callers' keys: read strictly, and never repeated in an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops_core.domain.caller import Caller, Role
from ops_core.errors import ConfigurationInvalid, Unauthenticated
from ops_core.wire.api_keys import find_caller, read_api_keys, single_key
from ops_core.wire.request_head import KeyCheck

SECRET = "s3cret-of-ada"
ADA: dict[str, Any] = {"key": SECRET, "subject": "ada", "roles": ["approver"], "groups": ["finance"]}


def test_each_key_is_known_again_and_kept_as_a_hash_only() -> None:
    own = {"key": "k-of-agent", "subject": "refund-desk", "roles": ["submitter", "viewer"], "agent": "refund-desk"}
    keys = read_api_keys(json.dumps([ADA, own]))
    ada, agent = find_caller(keys, SECRET), find_caller(keys, "k-of-agent")
    assert ada is not None
    assert agent is not None
    assert ada == Caller(subject="ada", roles=frozenset({Role.approver}), groups=frozenset({"finance"}))
    roles = frozenset({Role.submitter, Role.viewer})
    assert agent == Caller(subject="refund-desk", roles=roles, agent="refund-desk")
    assert SECRET not in repr(keys)


@pytest.mark.parametrize("presented", ["", SECRET[:-1], SECRET + "x", "schlüssel", "\udcff"])
def test_another_key_is_nobodys(presented: str) -> None:
    assert find_caller(read_api_keys(json.dumps([ADA])), presented) is None


def test_one_person_may_have_two_keys() -> None:
    keys = read_api_keys(json.dumps([ADA, {**ADA, "key": "another"}]))
    assert find_caller(keys, SECRET) == find_caller(keys, "another")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SECRET, "not JSON"),
        ("[" * 100_000, "not JSON that can be read"),
        ("[]", "1 to 300 entries"),
        (json.dumps(ADA), "must be a JSON list"),
        (json.dumps([ADA] * 301), "1 to 300 entries"),
        (json.dumps([ADA, SECRET]), "entry 1"),
        (json.dumps([ADA, ADA]), "entry 1, `key`: is the same as that of entry 0"),
        (json.dumps([ADA, {**ADA, "key": "b", "roles": ["root"]}]), "entry 1, `roles.0`:"),
        (json.dumps([{**ADA, "roles": []}]), "entry 0, `roles`:"),
        (json.dumps([{**ADA, "key": ""}]), "entry 0, `key`:"),
        (json.dumps([{**ADA, "key": f"{SECRET} ü"}]), "entry 0, `key`:"),
        (json.dumps([{**ADA, "key": 7}]), "entry 0, `key`:"),
        (json.dumps([{**ADA, "subject": ""}]), "entry 0, `subject`:"),
        (json.dumps([{**ADA, "groups": "finance"}]), "entry 0, `groups`:"),
        (json.dumps([{**ADA, SECRET: 1}]), "entry 0 has a field that is not one of key, subject, roles, groups, agent"),
        (json.dumps([{"key": SECRET}]), "entry 0, `subject`:"),
    ],
)
def test_a_list_that_cannot_be_one_names_the_entry_and_no_key(text: str, says: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        read_api_keys(text)
    error: BaseException | None = caught.value
    assert says in str(error)
    while error is not None:
        assert SECRET not in str(error)
        assert SECRET not in repr(getattr(error, "problems", ()))
        error = None if error.__suppress_context__ else error.__cause__ or error.__context__


class TestKeyCheck:
    def test_the_caller_is_the_one_whose_key_was_presented(self) -> None:
        check = KeyCheck([single_key("root"), *read_api_keys(json.dumps([ADA]))])
        assert check.caller({"authorization": "Bearer root"}.get).is_admin
        assert check.caller({"x-api-key": SECRET}.get).subject == "ada"

    @pytest.mark.parametrize("headers", [{}, {"x-api-key": "other"}, {"authorization": f"Basic {SECRET}"}])
    def test_nobody_else_comes_in(self, headers: dict[str, str]) -> None:
        with pytest.raises(Unauthenticated) as caught:
            KeyCheck(read_api_keys(json.dumps([ADA]))).caller(headers.get)
        assert "other" not in str(caught.value)

    def test_where_there_are_no_keys_everybody_may_everything(self) -> None:
        assert KeyCheck(()).caller(lambda name: None).is_admin
