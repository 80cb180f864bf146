"""What agents rely on in any set of tools, as tests that tools of one's own can be put through."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Sequence
from unittest import SkipTest

from agentkit.errors import BadToolArguments, ToolError, UnknownTool
from agentkit.testing.own_loop import run_check
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.transcript import ToolCall, ToolResult

_AT_ONCE = 8
_HARDLY_ANY_SECONDS = 0.001
#: A tool that is told to hurry may take this long to say that it could not.
_GRACE_SECONDS = 10.0


class ToolContract:
    """Subclass it in a test module as `class TestMyTools(ToolContract)`; say in `make` how the tools are made, in
    `good_call` which call of them works, and in `bad_call` which has wrong arguments.

    Each test has an event loop and tools of its own. The good call is made some twenty times.
    """

    good_call: ToolCall
    #: None for tools that take any arguments.
    bad_call: ToolCall | None = None
    #: The time each call has.
    timeout_seconds = 60.0

    async def make(self) -> BaseToolManager:
        """The tools, new for each test."""
        raise NotImplementedError("say in `make` how the tools are made")

    def test_there_are_the_same_tools_each_time(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            once, again = tuple(await tools.specs()), tuple(await tools.specs())
            assert once == again, "the tools must be the same, in the same order"
            assert len({spec.name for spec in once}) == len(once), "each tool must have a name of its own"
            assert self.good_call.name in {spec.name for spec in once}, "`good_call` must be of one of the tools"

        self._run(check)

    def test_a_model_can_be_told_of_each_tool(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            _check_specs(await tools.specs())

        self._run(check)

    def test_a_good_call_is_answered_with_text(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            self._check_result(await self._call(tools))

        self._run(check)

    def test_a_call_leaves_its_arguments_as_they_are(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            before = copy.deepcopy(self.good_call)
            await self._call(tools)
            assert self.good_call == before, "the arguments belong to the caller"

        self._run(check)

    def test_a_tool_that_is_not_there_is_unknown(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            try:
                await self._call(tools, ToolCall("call_1", "no_such_tool_anywhere", {}))
            except UnknownTool:
                return
            raise AssertionError("a call of a tool that is not there must raise UnknownTool")

        self._run(check)

    def test_wrong_arguments_are_refused(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            if self.bad_call is None:
                raise SkipTest("the tools take any arguments (`bad_call` is None)")
            try:
                await self._call(tools, self.bad_call)
            except BadToolArguments:
                return
            raise AssertionError("a call with wrong arguments must raise BadToolArguments")

        self._run(check)

    def test_calls_can_be_made_at_once(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            for result in await asyncio.gather(*(self._call(tools) for _ in range(_AT_ONCE))):
                self._check_result(result)

        self._run(check)

    def test_too_little_time_is_an_error_of_agentkit(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await tools.call(self.good_call, _context(_HARDLY_ANY_SECONDS))
            except ToolError:
                return  # and one that had the time is welcome to it
            except TimeoutError as error:
                raise AssertionError(
                    "it must keep to `context.timeout_seconds`, and say ToolTimeout when they are over"
                ) from error

        self._run(check)

    def test_a_call_that_is_cancelled_disturbs_no_other(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            cancelled, other = asyncio.create_task(self._call(tools)), asyncio.create_task(self._call(tools))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait({cancelled})
            self._check_result(await other)
            self._check_result(await self._call(tools))

        self._run(check)

    def test_closing_them_unused_and_twice_is_harmless(self) -> None:
        async def check(tools: BaseToolManager) -> None:
            await tools.aclose()

        self._run(check)

    async def _call(self, tools: BaseToolManager, call: ToolCall | None = None) -> ToolResult:
        return await tools.call(call or self.good_call, _context(self.timeout_seconds))

    def _check_result(self, result: ToolResult) -> None:
        assert isinstance(result, ToolResult), "a call must be answered with a ToolResult"
        assert (result.call_id, result.name) == (self.good_call.id, self.good_call.name), "a result must name its call"
        assert isinstance(result.content, str), "the content of a result must be a text"
        assert not result.is_error, f"`good_call` must work, and it says: {result.content}"

    def _run(self, check: Callable[[BaseToolManager], Awaitable[None]]) -> None:
        async def made_and_closed() -> None:
            tools = await self.make()
            try:
                await check(tools)
            finally:
                await tools.aclose()

        run_check(made_and_closed())


def _context(timeout_seconds: float) -> ToolContext:
    return ToolContext("contract", "1/tool/1", "contract:1/tool/1", timeout_seconds)


def _check_specs(specs: Sequence[ToolSpec]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    assert specs, "there must be at least one tool"
    for spec in specs:
        assert spec.name, "a tool must have a name"
        assert spec.description.strip(), f"{spec.name!r} must have a description"
        assert spec.parameters.get("type") == "object", f"the parameters of {spec.name!r} must be of type object"
        json.dumps(spec.parameters, allow_nan=False)
        try:
            Draft202012Validator.check_schema(spec.parameters)
        except SchemaError as error:
            raise AssertionError(f"the parameters of {spec.name!r} are no JSON Schema: {error.message}") from error
