"""The keys that an agent's rules give to its tasks."""

from __future__ import annotations

import pytest

from ops_core.domain.agent import AgentDefinition, KeyRule
from ops_core.domain.task import RateLimit
from ops_core.errors import InvalidInput
from ops_core.services.task_keys import TaskKeys, keys_of, keys_of_changed

DEFINITION = AgentDefinition(
    name="a",
    concurrency=KeyRule(key="input.customer", limit=3),
    rate=KeyRule(key="'mail/' + input.customer", limit=10, per_seconds=60.0),
    fairness=KeyRule(key="input.customer"),
)


def test_a_task_gets_the_keys_that_its_agent_makes_of_its_input() -> None:
    keys = keys_of(DEFINITION, {"customer": "ada"})
    assert keys == TaskKeys(
        concurrency_key="ada",
        concurrency_limit=3,
        rate=RateLimit(key="mail/ada", limit=10, per_seconds=60.0),
        fairness_key="ada",
    )


def test_keys_that_are_given_come_first_and_are_not_made() -> None:
    rate = RateLimit(key="mine", limit=1, per_seconds=1.0)
    given = TaskKeys(concurrency_key="mine", rate=rate, fairness_key="mine")
    keys = keys_of(DEFINITION, {}, given=given)
    assert (keys.concurrency_key, keys.concurrency_limit, keys.rate, keys.fairness_key) == ("mine", 3, rate, "mine")


def test_an_agent_without_rules_gives_no_keys() -> None:
    assert keys_of(AgentDefinition(name="a"), {"customer": "ada"}) == TaskKeys()


def test_an_input_that_makes_no_key_is_refused_for_every_rule_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        keys_of(DEFINITION, {"goal": "x"})
    assert [problem.detail.split(" by ")[0] for problem in caught.value.problems] == [
        "makes no concurrency key",
        "makes no rate key",
        "makes no fairness key",
    ]
    assert "there is no 'customer'" in caught.value.detail


def test_keys_that_were_made_of_an_input_are_made_anew_of_another() -> None:
    ada, bob = {"customer": "ada"}, {"customer": "bob"}
    assert keys_of_changed(DEFINITION, keys_of(DEFINITION, ada), ada, bob) == keys_of(DEFINITION, bob)


def test_keys_that_were_given_stay_when_the_input_changes() -> None:
    ada, bob = {"customer": "ada"}, {"customer": "bob"}
    rate = RateLimit(key="mine", limit=1, per_seconds=1.0)
    given = TaskKeys(concurrency_key="mine", concurrency_limit=7, rate=rate, fairness_key="mine")
    assert keys_of_changed(DEFINITION, given, ada, bob) == given


def test_a_changed_input_that_makes_no_key_by_intent_has_no_limit_either() -> None:
    rule = KeyRule(key="has(input.customer) ? dyn(input.customer) : dyn(null)", limit=3)
    definition = AgentDefinition(name="a", concurrency=rule)
    ada = {"customer": "ada"}
    assert keys_of(definition, ada).concurrency_limit == 3
    assert keys_of_changed(definition, keys_of(definition, ada), ada, {}) == TaskKeys()
