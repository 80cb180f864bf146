"""Conditions and keys that agents declare: what they give, what is refused, and what bounds them."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from ops_core.domain.task import JsonObject
from ops_core.services.expressions import MAX_EXPRESSION_CHARS, Evaluated, Unevaluable, evaluate, holds, key_of
from ops_core.services.expressions import expression_problem as problem_of

ARGUMENTS: JsonObject = {"amount": 80, "to": {"name": "Ada"}, "items": [{"price": 3}, {"price": 70}]}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("arguments.amount > 50", True),
        ("arguments.amount > 80.5", False),
        ("arguments.to.name.startsWith('A') && !(arguments.amount in [1, 2])", True),
        ("arguments.items.exists(item, item.price > 50)", True),
        ("arguments.items.filter(item, item.price > 50).exists(item, item.price > 100)", False),
        ("has(arguments.currency) && arguments.currency != 'EUR'", False),
        ("size(arguments.items) >= 2 || arguments.missing", True),
    ],
)
def test_a_condition_is_true_or_false_of_the_data(condition: str, expected: bool) -> None:
    assert problem_of(condition, variable="arguments") is None
    assert holds(condition, "arguments", ARGUMENTS) is expected


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("arguments.missing > 3", "there is no 'missing'"),
        ("arguments.to > 3", "No such overload"),
        ("arguments.amount", "gives int, not true or false"),
        ("1 / (arguments.amount - 80) > 1", "division by zero"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_says_why(condition: str, reason: str) -> None:
    found = holds(condition, "arguments", ARGUMENTS)
    assert isinstance(found, Unevaluable)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("arguments.amount >", "is no CEL expression"),
        ("", "must have 1 to"),
        ("true || " * 200 + "true", f"must have 1 to {MAX_EXPRESSION_CHARS}"),
        ("amount > 50", "such as `arguments.amount`"),
        ("input.amount > 50", "names 'input', but knows `arguments` only"),
        ("arguments.name.lower() == 'ada'", "calls 'lower', which there is not"),
        ("(" * 400 + "1" + ")" * 400, "is no CEL expression"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(text: str, problem: str) -> None:
    assert problem in (problem_of(text, variable="arguments") or "")


def test_a_macro_inside_of_a_macro_is_refused_because_it_could_run_for_ever() -> None:
    nested = "arguments.a.all(x, arguments.a.all(y, arguments.a.all(z, x + y + z > 0)))"
    assert "inside of another" in (problem_of(nested, variable="arguments") or "")
    spaced = "arguments.a . all ( x, ( arguments.a.exists ( y, y > x ) ) )"
    assert "inside of another" in (problem_of(spaced, variable="arguments") or "")
    quoted = "arguments.a.all(x, x != '.all(')"
    assert problem_of(quoted, variable="arguments") is None


def test_a_macro_over_much_data_is_not_evaluated() -> None:
    members = list(range(1_900))
    started = time.monotonic()
    assert evaluate("arguments.a.all(x, x in arguments.a)", "arguments", {"a": members}) == Evaluated(True)
    assert time.monotonic() - started < 5
    more = evaluate("arguments.a.all(x, x in arguments.a)", "arguments", {"a": list(range(10_000))})
    assert isinstance(more, Unevaluable)
    assert "2,000 members" in more.reason
    assert evaluate("size(arguments.a)", "arguments", {"a": list(range(10_000))}) == Evaluated(10_000)


def test_a_raw_text_hides_no_macro() -> None:
    hidden = r"""r"\" == "" || arguments.a.all(x, arguments.a.all(y, x + y > 0)) || r"\" == "" """
    assert "inside of another" in (problem_of(hidden, variable="arguments") or "")
    assert problem_of(r"""arguments.a.matches(r"^\d+\.all\($")""", variable="arguments") is None


@pytest.mark.parametrize(
    ("hidden", "problem"),
    [
        ("arguments.a.all(x, arguments.a.// each\nall(y, x + y > 0))", "inside of another"),
        ("arguments.a.all// each\n(x, arguments.a.all// each\n(y, x + y > 0))", "inside of another"),
        ("arguments.a.matches// as it is\n(arguments.p)", "write the pattern"),
    ],
)
def test_a_comment_hides_nothing(hidden: str, problem: str) -> None:
    assert problem in (problem_of(hidden, variable="arguments") or "")
    assert problem_of("arguments.a // 'all(\n == 3", variable="arguments") is None


@pytest.mark.parametrize("call", ["arguments.a.matches(arguments.p)", "arguments.a.matches('a' + arguments.p)"])
def test_a_pattern_that_the_data_would_choose_is_refused(call: str) -> None:
    assert "write the pattern" in (problem_of(call, variable="arguments") or "")


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("size(" + " + ".join(["arguments.a"] * 70) + ") > 5", {"a": "x" * 1_900_000}),
        ("size(arguments.xs.map(x, arguments.a + arguments.a)) > 1", {"a": "x" * 90_000, "xs": [1] * 1_900}),
        (
            "arguments.xs.all(x, " + " && ".join(["x in arguments.xs"] * 40) + ")",
            {"xs": list(range(1_900))},
        ),
    ],
)
def test_what_would_take_long_on_much_data_is_not_evaluated(expression: str, data: JsonObject) -> None:
    assert problem_of(expression, variable="arguments") is None
    found = evaluate(expression, "arguments", data)
    assert isinstance(found, Unevaluable)
    assert "too large for what the expression does" in found.reason


def test_much_data_and_a_simple_expression_go_together() -> None:
    large: JsonObject = {"customer": "ada", "document": "x" * 1_900_000}
    assert evaluate("'eu/' + input.customer + '/mail'", "input", large) == Evaluated("eu/ada/mail")
    many: JsonObject = {"to": [f"customer-{n}@example.org" for n in range(500)], "text": "x" * 20_000}
    assert evaluate("input.to.exists(to, !to.endsWith('@example.org'))", "input", many) == Evaluated(False)


async def test_once_prepared_the_first_evaluation_loads_nothing_on_the_event_loop() -> None:
    """In a process of its own, where nothing has been loaded yet."""
    script = (
        "import asyncio, sys, threading; from ops_core.services import expressions as e; "
        "seen = []; sys.addaudithook(lambda name, args: name == 'import' and args[0].split('.')[0] == 'cel' "
        "and seen.append(threading.current_thread() is threading.main_thread())); "
        "asyncio.run(e.prepare_expressions()); assert e.holds('input.a > 1', 'input', {'a': 2}) is True; "
        "print(bool(seen), any(seen))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        told, _ = await process.communicate()
    assert told.split() == [b"True", b"False"]


def test_data_that_is_nested_too_deep_is_not_evaluated() -> None:
    deep: JsonObject = {}
    for _ in range(50_000):
        deep = {"a": deep}
    assert isinstance(evaluate("arguments.a != 3", "arguments", deep), Unevaluable)
    while deep:  # by hand: Python takes such a value apart by recursion
        deep = deep["a"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("input.customer", "ada"),
        ("'eu/' + input.customer", "eu/ada"),
        ("input.number", "42"),
        ("input.number_by_grpc", "42"),
        ("has(input.team) ? input.team : null", None),
    ],
)
def test_a_key_is_text_made_of_the_input(key: str, expected: str | None) -> None:
    assert key_of(key, "input", {"customer": "ada", "number": 42, "number_by_grpc": 42.0}) == expected


@pytest.mark.parametrize("customer", ["", "x" * 257, "a\nb", ["ada"], 1.5])
def test_what_makes_no_key_says_why(customer: object) -> None:
    assert isinstance(key_of("input.customer", "input", {"customer": customer}), Unevaluable)
