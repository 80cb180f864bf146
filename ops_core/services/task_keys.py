"""The keys of a task, by which tasks are held back or take turns: the submission's own, else those its agent makes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ops_core.domain.agent import AgentDefinition, KeyRule
from ops_core.domain.task import JsonObject, RateLimit
from ops_core.errors import FieldProblem, InvalidInput
from ops_core.services.expressions import Unevaluable, key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKeys:
    """What a new task is counted under; None where it is not."""

    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    rate: RateLimit | None = None
    fairness_key: str | None = None


def makes_keys(definition: AgentDefinition) -> bool:
    """Whether the agent has rules by which its tasks get keys."""
    return any((definition.concurrency, definition.rate, definition.fairness))


def keys_of(definition: AgentDefinition, input: JsonObject, *, given: TaskKeys | None = None) -> TaskKeys:
    """What is given, and for what is not, what the agent's rules make of the input. A key that is given without a
    limit has the limit of the agent's rule, if it has one.

    Raises:
        InvalidInput: a rule makes no key of this input; says which and why.
    """
    given = given or TaskKeys()
    rules = definition.concurrency, definition.rate, definition.fairness
    problems: list[FieldProblem] = []

    def made(field: str, rule: KeyRule | None, own: object) -> str | None:
        if rule is None or own is not None:
            return None
        key = key_of(rule.key, "input", input)
        if isinstance(key, Unevaluable):
            problems.append(FieldProblem("/input", f"makes no {field} key by `{rule.key}`: {key.reason}"))
            return None
        return key

    concurrency = made("concurrency", rules[0], given.concurrency_key)
    rate = made("rate", rules[1], given.rate)
    fairness = made("fairness", rules[2], given.fairness_key)
    if problems:
        raise InvalidInput("; ".join(f"`input` {problem.detail}" for problem in problems), problems=problems)
    return TaskKeys(
        concurrency_key=given.concurrency_key or concurrency,
        concurrency_limit=given.concurrency_limit or _limit(rules[0], given.concurrency_key or concurrency),
        rate=given.rate or _rate(rules[1], rate),
        fairness_key=given.fairness_key or fairness,
    )


def keys_of_changed(definition: AgentDefinition, keys: TaskKeys, before: JsonObject, after: JsonObject) -> TaskKeys:
    """What becomes of the keys of a task whose input is changed: those that the agent's rules had made of it are made
    anew, those that were given stay.

    Raises:
        InvalidInput: as `keys_of`.
    """
    rules = definition.concurrency, definition.rate, definition.fairness
    rate_key = keys.rate.key if keys.rate is not None else None
    own = [
        None if rule is not None and key_of(rule.key, "input", before) == key else key
        for rule, key in zip(rules, (keys.concurrency_key, rate_key, keys.fairness_key), strict=True)
    ]
    given = TaskKeys(
        concurrency_key=own[0],
        concurrency_limit=keys.concurrency_limit,
        rate=keys.rate if own[1] is not None else None,
        fairness_key=own[2],
    )
    made = keys_of(definition, after, given=given)
    # The new input may make no key, and then there is nothing to bound.
    return made if made.concurrency_key is not None else replace(made, concurrency_limit=None)


def _limit(rule: KeyRule | None, key: str | None) -> int | None:
    return rule.limit if rule is not None and key is not None else None


def _rate(rule: KeyRule | None, key: str | None) -> RateLimit | None:
    if rule is None or key is None or rule.limit is None or rule.per_seconds is None:
        return None
    return RateLimit(key=key, limit=rule.limit, per_seconds=rule.per_seconds)
