"""Tools that misbehave, arguments that fit nothing, schemas that are none, and two tools of one name."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentkit import (
    Agent,
    BadToolArguments,
    CombinedTools,
    ConfigurationError,
    Finished,
    FunctionTool,
    JsonObject,
    ReActPlanner,
    ToolCall,
    ToolContext,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    ToolSpec,
    UnknownTool,
    tool,
)
from agentkit.testing import CountingTool, ScriptedLlm, call_of
from agentkit.tools.arguments import misfit
from agentkit.tools.prefixed import PrefixedTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=10)


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


def plant(tree: Tree) -> int:
    """Count the leaves."""
    return sum(map(plant, tree.children)) if tree.children else 1


def exact(n: int, ratio: Annotated[float, Field(allow_inf_nan=False)] = 1.0, flag: bool = False) -> str:
    return f"{n} {ratio} {flag}"


def anything(x: Any) -> str:
    return "fine"


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


async def observed(function: Callable[..., Any], **arguments: object) -> ToolResult:
    """What a model is told of a call, in a run that goes on after it."""
    called = function if isinstance(function, FunctionTool) else FunctionTool(function, side_effect=False)
    llm = ScriptedLlm([[ToolCall("call_1", called.spec.name, arguments)], "done"])
    report = await Agent(planner=ReActPlanner(llm), tools=ToolRegistry([called])).run("go")
    assert isinstance(report.outcome, Finished)
    return next(message for message in report.transcript if isinstance(message, ToolMessage)).results[0]


async def test_a_recursive_schema_is_offered_with_its_definition_and_checked_at_every_level() -> None:
    assert "$defs" in FunctionTool(plant).spec.parameters
    tree = {"value": 1, "children": [{"value": 2}, {"value": 3, "children": [{"value": 4}]}]}
    assert (await observed(plant, tree=tree)).content == "2"
    tree["children"][1]["children"][0]["value"] = "four"  # type: ignore[index]  # as it was written above
    assert "argument 'tree.children.1.children.0.value'" in (await observed(plant, tree=tree)).content


async def test_a_schema_of_a_megabyte_is_a_schema_like_any_other() -> None:
    names = tuple(f"{n:06d}{'x' * 94}" for n in range(10_000))

    def pick(name: Literal[names]) -> str:  # type: ignore[valid-type]  # made here
        return str(name)[:6]

    pick.__annotations__["name"] = Literal[names]
    picked = FunctionTool(pick)
    assert len(str(picked.spec.parameters)) > 1_000_000
    assert (await observed(picked, name=names[7])).content == "000007"
    refused = await observed(picked, name="none of them")
    assert refused.is_error


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"n": "seven"}, "argument 'n'"),
        ({"n": 1.5}, "argument 'n'"),
        ({"n": None}, "argument 'n'"),
        ({"n": {}}, "argument 'n'"),
        ({"n": [1]}, "argument 'n'"),
        ({"n": 1, "ratio": float("nan")}, "argument 'ratio'"),
        ({"n": 1, "ratio": float("inf")}, "argument 'ratio'"),
        ({"n": 1, "flag": "perhaps"}, "argument 'flag'"),
        ({"n": 1, "more": 1}, "argument 'more': Extra inputs are not permitted"),
        ({"n": 1, "self": 1, "__class__": 1}, "argument 'self'"),
        ({}, "argument 'n': Field required"),
        ({"n": nested(900)}, "argument 'n'"),
        ({"n": nested(10_000)}, "argument 'n'"),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, dict) else ",".join(value),
)
async def test_arguments_that_do_not_fit_are_named_and_the_function_is_not_called(
    arguments: JsonObject, problem: str
) -> None:
    with pytest.raises(BadToolArguments) as error:
        await ToolRegistry([exact]).call(ToolCall("c", "exact", arguments), CONTEXT)
    assert problem in str(error.value)
    assert len(str(error.value)) < 5_000


async def test_arguments_nested_as_deeply_as_json_can_be_read_reach_a_tool_that_takes_anything() -> None:
    assert (await observed(anything, x=nested(500))).content == "fine"


async def test_arguments_of_ten_thousand_levels_do_not_end_the_run() -> None:
    called = FunctionTool(anything, side_effect=False)
    llm = ScriptedLlm([[ToolCall("call_1", called.spec.name, {"x": nested(10_000)})], "done"])

    report = await Agent(planner=ReActPlanner(llm), tools=ToolRegistry([called])).run("go")

    assert report.outcome == Finished("done")
    assert "nested too deeply" in str(llm.asked[1].messages[-1])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"type": "strnig"},
        {"type": "object", "properties": []},
        {"properties": {"x": {"$ref": "#/$defs/Gone"}}},
        {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"x": {"pattern": "(?<=a+)b["}}},
        {"$ref": "#"},
        nested(10_000),
        None,
    ],
    ids=["empty", "no type", "no properties", "dangling", "remote", "no pattern", "circle", "deep", "none"],
)
def test_a_schema_that_is_none_is_left_to_the_tool_to_judge(parameters: Any) -> None:
    assert misfit(ToolSpec("odd", "", parameters), {"x": "b"}) is None


def test_a_recursive_schema_of_a_tool_that_is_no_function_is_checked() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#/$defs/T"}, "n": {"type": "integer"}}}
    spec = ToolSpec("odd", "", {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}, "$defs": {"T": tree}})
    assert misfit(spec, {"t": {"next": {"next": {"n": 1}}}}) is None
    assert "t.next.next.n" in (misfit(spec, {"t": {"next": {"next": {"n": "1"}}}}) or "")


def prints() -> str:
    """Say something on both streams."""
    print("said on stdout")
    print("said on stderr", file=sys.stderr)
    return "printed"


def forks() -> str:
    """Make a copy of the process, which ends at once."""
    with warnings.catch_warnings(action="ignore"):  # that it is done beside other threads
        child = os.fork()
    if child == 0:
        os._exit(7)
    return f"forked, and {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}"


def leaves() -> str:
    sys.exit(3)


async def leaves_at_once() -> str:
    raise SystemExit("bye")


async def stops_iterating() -> str:
    raise StopAsyncIteration


def never_ends_itself() -> str:
    return never_ends_itself()


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


def unspeakable() -> str:
    raise Unspeakable


@pytest.mark.parametrize(
    ("function", "content", "is_error"),
    [
        (prints, "printed", False),
        (forks, "forked, and 7", False),
        (leaves, "The tool 'leaves' failed: SystemExit: 3", True),
        (leaves_at_once, "The tool 'leaves_at_once' failed: SystemExit: bye", True),
        (stops_iterating, "The tool 'stops_iterating' failed: StopAsyncIteration: ", True),
        (never_ends_itself, "RecursionError", True),
        (unspeakable, "Unspeakable: (its message cannot be read)", True),
    ],
)
async def test_whatever_a_tool_does_the_run_goes_on(function: Callable[..., Any], content: str, is_error: bool) -> None:
    result = await observed(function)
    assert content in result.content
    assert result.is_error is is_error


class Odd(BaseException):
    """No Exception."""


def raises_odd() -> str:
    raise Odd("odd")


async def raises_odd_at_once() -> str:
    raise Odd("odd")


@pytest.mark.parametrize("function", [raises_odd, raises_odd_at_once])
async def test_an_exception_that_is_no_exception_does_not_end_the_run(function: Callable[..., Any]) -> None:
    assert "Odd: odd" in (await observed(function)).content


async def test_what_a_tool_prints_is_printed_and_is_not_its_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await observed(prints)
    assert capsys.readouterr() == ("said on stdout\n", "said on stderr\n")


async def test_a_tool_that_leaves_a_thread_behind_is_done_all_the_same() -> None:
    release = threading.Event()

    @tool(side_effect=False)
    def starts_a_thread() -> str:
        threading.Thread(target=release.wait, args=(30,), daemon=True).start()
        return "started"

    assert (await observed(starts_a_thread)).content == "started"
    release.set()


def test_a_registry_refuses_two_tools_of_one_name() -> None:
    def other() -> str:
        return ""

    with pytest.raises(ConfigurationError, match="there are two tools named 'anything'"):
        ToolRegistry([anything, FunctionTool(other, name="anything")])


async def test_sets_with_a_tool_of_one_name_cannot_be_combined_and_neither_is_called() -> None:
    first, second = CountingTool("search"), CountingTool("search")
    tools = CombinedTools(first, second)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="both have a tool named 'search'"):
            await tools.call(call_of("search"), CONTEXT)
    assert (first.calls, second.calls) == ([], [])


async def test_a_name_that_a_prefix_makes_twice_is_found_too() -> None:
    tools = CombinedTools(PrefixedTools(CountingTool("search"), "a"), CountingTool("a.search"))
    with pytest.raises(ConfigurationError, match=r"both have a tool named 'a\.search'"):
        await tools.specs()


@pytest.mark.parametrize("name", ["", "search ", "SEARCH", "search\x00", "../search", "x" * 100_000])
async def test_a_name_that_is_almost_that_of_a_tool_is_unknown(name: str) -> None:
    tools = CombinedTools(CountingTool("search"), ToolRegistry([anything]))
    with pytest.raises(UnknownTool):
        await tools.call(ToolCall("c", name, {}), CONTEXT)
