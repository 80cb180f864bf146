"""Tools made of typed functions: their schema, the check of arguments, the call."""

from __future__ import annotations

import asyncio
import enum
import functools
import threading
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentkit import (
    BadToolArguments,
    ConfigurationError,
    FunctionTool,
    OnUnknown,
    ToolCall,
    ToolContext,
    ToolFailed,
    ToolRegistry,
    ToolTimeout,
    UnknownTool,
    tool,
)
from agentkit.testing import call_of

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


class Address(BaseModel):
    city: str
    zip_code: str | None = None


class Color(enum.Enum):
    red = "red"


@dataclass
class Point:
    x: int


async def answer(function: Any, **arguments: object) -> str:
    name = function.spec.name if isinstance(function, FunctionTool) else function.__name__
    result = await ToolRegistry([function]).call(ToolCall("call_1", name, arguments), CONTEXT)
    return result.content


def test_the_schema_comes_from_the_type_hints_and_the_docstring() -> None:
    @tool(side_effect=True, on_unknown=OnUnknown.retry)
    def send(
        to: Annotated[str, Field(description="Who gets it")],
        how: Literal["mail", "post"] = "mail",
        copies: Annotated[int, Field(ge=1, le=5)] = 1,
        address: Address | None = None,
    ) -> str:
        """Send a letter.

        Costs a stamp.
        """
        return ""

    spec = send.spec
    assert (spec.name, spec.description) == ("send", "Send a letter.\n\nCosts a stamp.")
    assert (spec.side_effect, spec.on_unknown) == (True, OnUnknown.retry)
    assert spec.parameters["required"] == ["to"]
    assert spec.parameters["additionalProperties"] is False
    properties = spec.parameters["properties"]
    assert properties["to"] == {"type": "string", "description": "Who gets it"}
    assert properties["how"] == {"type": "string", "enum": ["mail", "post"], "default": "mail"}
    assert properties["copies"] == {"type": "integer", "minimum": 1, "maximum": 5, "default": 1}
    assert spec.parameters["$defs"]["Address"]["properties"]["city"]["type"] == "string"


def test_a_function_without_parameters_has_an_empty_object_as_schema() -> None:
    @tool
    def ping() -> str:
        return "pong"

    assert ping.spec.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    assert ping.spec.side_effect
    assert ping.spec.on_unknown is OnUnknown.ask


def test_a_tool_can_be_called_like_the_function_it_is() -> None:
    @tool(name="twice", description="Double it.")
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert (double.spec.name, double.spec.description) == ("twice", "Double it.")


async def test_values_arrive_with_their_types() -> None:
    seen: list[object] = []

    @tool
    async def take(day: date, where: Address, color: Color, n: float = 1.5) -> str:
        seen.extend([day, where, color, n])
        return "ok"

    await answer(take, day="2026-03-01", where={"city": "Bonn"}, color="red")
    assert seen == [date(2026, 3, 1), Address(city="Bonn"), Color.red, 1.5]


@pytest.mark.parametrize("name", ["copy", "json", "schema", "model_config", "self_", "validate"])
async def test_a_parameter_may_have_a_name_that_pydantic_uses_itself(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def take({name}: int) -> int:\n    return {name}", namespace)
    assert await answer(namespace["take"], **{name: 3}) == "3"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "argument 'n': Field required"),
        ({"n": "many"}, "argument 'n': Input should be a valid integer"),
        ({"n": 1, "m": 2}, "argument 'm': Extra inputs are not permitted"),
        ({"n": 1, "where": {"city": 3}}, "argument 'where.city': Input should be a valid string"),
    ],
)
async def test_wrong_arguments_are_named_and_the_function_is_not_called(
    arguments: dict[str, object], problem: str
) -> None:
    @tool
    def take(n: int, where: Address | None = None) -> str:
        raise AssertionError("must not be called")

    with pytest.raises(BadToolArguments, match="Wrong arguments for 'take'") as error:
        await answer(take, **arguments)
    assert problem in str(error.value)


async def test_a_flood_of_wrong_arguments_gives_a_short_message() -> None:
    def take(numbers: list[int]) -> str:
        return ""

    with pytest.raises(BadToolArguments) as error:
        await answer(take, numbers=["x"] * 10_000)
    assert len(str(error.value)) < 2_000


async def test_the_context_is_given_to_the_function_and_hidden_from_the_model() -> None:
    @tool
    async def key(suffix: str, context: ToolContext) -> str:
        return context.idempotency_key + suffix

    assert "context" not in key.spec.parameters["properties"]
    assert await answer(key, suffix="!") == "run-1:1/tool/1!"


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        (3, "3"),
        (None, "null"),
        (True, "true"),
        ([{"a": 1}], '[{"a":1}]'),
        (Address(city="Bonn"), '{"city":"Bonn","zip_code":null}'),
        (Point(3), '{"x":3}'),
        (date(2026, 3, 1), '"2026-03-01"'),
        (b"bytes", '"bytes"'),
    ],
)
async def test_a_result_is_text_or_json(value: object, content: str) -> None:
    def give() -> object:
        return value

    assert await answer(give) == content


#: Holds itself.
CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value", [object(), CIRCLE, b"\xff", threading.Lock()], ids=["object", "circle", "bytes", "lock"]
)
async def test_a_result_that_cannot_be_json_is_a_failure(value: object) -> None:
    async def give() -> object:
        return value

    with pytest.raises(ToolFailed, match="cannot be written as JSON"):
        await answer(give)


async def test_a_synchronous_function_does_not_block_the_loop() -> None:
    entered, release = threading.Event(), threading.Event()

    @tool
    def block() -> str:
        entered.set()
        assert release.wait(5)
        return threading.current_thread().name

    call = asyncio.create_task(answer(block))
    while not entered.is_set():
        await asyncio.sleep(0)
    release.set()
    assert await call == "agentkit-tool"


async def test_a_synchronous_function_that_hangs_times_out() -> None:
    release = threading.Event()

    def hang() -> None:
        release.wait(30)

    context = ToolContext("r", "1/tool/1", "k", timeout_seconds=0.01)
    with pytest.raises(ToolTimeout, match=r"'hang' did not finish within 0\.01 s"):
        await ToolRegistry([hang]).call(call_of("hang"), context)
    release.set()


async def test_more_synchronous_functions_than_threads_wait_for_one() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    registry = ToolRegistry([work], threads=2)
    await asyncio.gather(*(registry.call(call_of("work"), CONTEXT) for _ in range(20)))
    assert most <= 2


async def test_a_call_that_found_no_thread_says_so() -> None:
    release = threading.Event()

    def hang() -> None:
        release.wait(30)

    registry = ToolRegistry([hang], threads=1)
    context = replace(CONTEXT, timeout_seconds=0.05)
    try:
        for _ in range(2):
            with pytest.raises(ToolTimeout, match="all threads for synchronous tools are taken"):
                await registry.call(call_of("hang"), context)
    finally:
        release.set()


async def test_a_synchronous_function_that_returns_a_coroutine_is_awaited() -> None:
    async def inner() -> str:
        return "awaited"

    def outer() -> object:
        return inner()

    assert await answer(outer) == "awaited"


def _star_free() -> str:
    return ""


def _no_hint(n) -> str:  # type: ignore[no-untyped-def]  # what the test is about
    return ""


def _star(*args: int) -> str:
    return ""


def _positional(n: int, /) -> str:
    return ""


def _opaque(lock: threading.Event) -> str:
    return ""


def _dangling(n: Missing) -> str:  # type: ignore[name-defined]  # noqa: F821  what the test is about
    return ""


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_no_hint, "parameter 'n' needs a type hint"),
        (_star, "parameter 'args' must be passable by name"),
        (_positional, "parameter 'n' must be passable by name"),
        (_opaque, "a type hint has no JSON Schema"),
        (_dangling, "a type hint cannot be resolved"),
    ],
)
def test_a_function_that_can_be_no_tool_is_refused_with_the_reason(function: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as error:
        tool(function)
    assert function.__name__ in str(error.value)


@pytest.mark.parametrize(
    "thing", [3, functools.partial(_star_free), ToolRegistry(), int], ids=lambda x: type(x).__name__
)
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="a tool is made of a function, not of"):
        ToolRegistry([thing])


async def test_a_bound_method_can_be_a_tool() -> None:
    class Shop:
        async def price(self, of: str) -> int:
            return len(of)

    assert await answer(Shop().price, of="tea") == "3"


async def test_a_registry_keeps_its_order_and_refuses_a_name_twice() -> None:
    def b() -> None: ...
    def a() -> None: ...

    registry = ToolRegistry([b, a])
    assert [spec.name for spec in await registry.specs()] == ["b", "a"]
    with pytest.raises(ConfigurationError, match="two tools named 'a'"):
        registry.add(a)


@pytest.mark.parametrize("name", ["", "has space", ".hidden", "x" * 65, "é"])
def test_a_name_no_model_accepts_is_refused(name: str) -> None:
    registry = ToolRegistry()
    with pytest.raises(ConfigurationError, match="is no good"):
        registry.add(FunctionTool(_star_free, name="ok").function, name=name or " ")


async def test_a_registry_knows_only_its_own_tools() -> None:
    with pytest.raises(UnknownTool, match="'nothing'"):
        await ToolRegistry().call(call_of("nothing"), CONTEXT)
