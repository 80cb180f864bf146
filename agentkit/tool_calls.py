"""Makes the tool calls of one answer: judged, journaled, bounded, and an observation whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentkit.errors import (
    BadToolArguments,
    OutcomeUnknown,
    RunRevoked,
    StepMismatch,
    ToolError,
    ToolFailed,
    ToolTimeout,
    UnknownTool,
)
from agentkit.foreign import await_foreign
from agentkit.hooks import RunHooks
from agentkit.journal import Journal, StepIntent, StepKind, StepResult, fingerprint
from agentkit.limits import Limits
from agentkit.observations import cut_to_bytes, doubt, no_such_tool, not_allowed, said_by
from agentkit.security.base import BaseSecurityManager, Denied
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.transcript import JsonObject, ToolCall, ToolResult

#: `error` of a call that the security manager did not allow.
_DENIED = "tool_denied"
#: How long a cancelled run may take to record an effect that has happened.
_RECORD_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of one call."""

    result: ToolResult
    seconds: float
    #: The call itself was wrong (no such tool, bad arguments), so the model has to ask differently.
    misasked: bool


@dataclass(frozen=True, slots=True)
class _Step:
    """One call of one answer, before it is made."""

    key: str
    call: ToolCall
    #: The tools offered, by name.
    specs: Mapping[str, ToolSpec]
    #: Known already: not made again.
    result: StepResult | None
    #: Begun before, by a process that died.
    begun: bool

    @property
    def spec(self) -> ToolSpec | None:
        return self.specs.get(self.call.name)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.call.name, self.call.arguments)


class ToolCaller:
    """Makes the tool calls of one run."""

    def __init__(
        self,
        *,
        run_id: str,
        tools: BaseToolManager,
        security: BaseSecurityManager,
        limits: Limits,
        journal: Journal,
        hooks: RunHooks,
    ) -> None:
        self._run_id = run_id
        self._tools = tools
        self._security = security
        self._limits = limits
        self._journal = journal
        self._hooks = hooks

    async def call_all(self, step: int, calls: Sequence[ToolCall], specs: Mapping[str, ToolSpec]) -> list[Observed]:
        """Make these calls at the same time; what came of them is in their order.

        All of them are looked up in the journal before the first is made, so that a call whose outcome is unknown
        stops the run before its siblings act. When one raises, the others are cancelled.

        Raises:
            StepMismatch, OutcomeUnknown, RunRevoked
        """
        steps = [self._look_up(f"{step}/tool/{i}", call, specs) for i, call in enumerate(calls, 1)]
        if any(each.result is None for each in steps):
            self._journal.check()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._observe(each)) for each in steps]
        except BaseExceptionGroup as several:
            error = several.exceptions[0]
        else:
            return [task.result() for task in tasks]
        raise error

    def _look_up(self, key: str, call: ToolCall, specs: Mapping[str, ToolSpec]) -> _Step:
        known = self._journal.recall(key)
        result = known if isinstance(known, StepResult) else None
        step = _Step(key, call, specs, result, begun=isinstance(known, StepIntent))
        if known is not None and not known.fits(step.fingerprint):
            raise StepMismatch(
                key,
                journaled=f"{known.payload.get('name', known.kind.value)} ({known.fingerprint[:8]})",
                now=f"{call.name} ({step.fingerprint[:8]})",
            )
        if isinstance(known, StepIntent):
            self._require_repeatable(known, step)
        return step

    def _require_repeatable(self, intent: StepIntent, step: _Step) -> None:
        if OnUnknown(intent.payload["on_unknown"]) is not OnUnknown.retry or step.spec is None:
            raise OutcomeUnknown(intent.key, step.call.name)

    async def _observe(self, step: _Step) -> Observed:
        if step.result is not None:
            return self._seen(step, step.result, replayed=True)
        self._hooks.step_started(step.key, StepKind.tool, step.call.name)
        result = await self._execute(step)
        if step.spec is not None and step.spec.side_effect:
            await self._record_even_if_cancelled(result)
        else:
            await self._journal.record(result)
        return self._seen(step, result, replayed=False)

    async def _record_even_if_cancelled(self, result: StepResult) -> None:
        """The effect has happened: a cancellation that comes now waits until that is written, or cannot be."""
        writing = asyncio.ensure_future(self._journal.record(result))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing], timeout=_RECORD_SECONDS)
            writing.cancel()
            raise

    def _seen(self, step: _Step, done: StepResult, *, replayed: bool) -> Observed:
        is_error, error = bool(done.payload["is_error"]), done.payload["error"]
        self._hooks.step_finished(
            step.key,
            StepKind.tool,
            step.call.name,
            seconds=done.seconds,
            replayed=replayed,
            is_error=is_error,
        )
        result = ToolResult(step.call.id, step.call.name, done.payload["content"], is_error)
        return Observed(result, done.seconds, error in {UnknownTool.code, BadToolArguments.code})

    async def _execute(self, step: _Step) -> StepResult:
        started = time.monotonic()
        error: str | None = None
        try:
            if step.spec is None:
                raise UnknownTool(no_such_tool(step.call.name, step.specs))
            result = await self._judge_and_call(step, step.spec)
            content, is_error = result.content, result.is_error
        except _NotAllowed as denied:
            content, is_error, error = str(denied), True, _DENIED
        except ToolError as raised:
            content, is_error, error = str(raised), True, raised.code
        payload: JsonObject = {
            "call_id": step.call.id,
            "name": step.call.name,
            "arguments": step.call.arguments,
            "content": cut_to_bytes(content, self._limits.tool_result_bytes),
            "is_error": is_error,
            "error": error,
        }
        return StepResult(
            key=step.key,
            kind=StepKind.tool,
            fingerprint=step.fingerprint,
            payload=payload,
            seconds=time.monotonic() - started,
        )

    async def _judge_and_call(self, step: _Step, spec: ToolSpec) -> ToolResult:
        context = ToolContext(
            run_id=self._run_id,
            step_key=step.key,
            idempotency_key=f"{self._run_id}:{step.key}",
            timeout_seconds=self._limits.tool_seconds,
        )
        await self._require_allowed(step, spec, context)
        if spec.side_effect and not step.begun:
            await self._journal.intend(_intent(step, spec, context))
        self._journal.check_begun()
        return await self._call(step.call, spec, context)

    async def _require_allowed(self, step: _Step, spec: ToolSpec, context: ToolContext) -> None:
        try:
            async with asyncio.timeout(self._limits.tool_seconds):
                verdict = await self._security.judge(step.call, spec, context)
        except TimeoutError:
            verdict = Denied(f"the policy gave no verdict within {self._limits.tool_seconds:g} s")
        if isinstance(verdict, Denied):
            raise _NotAllowed(not_allowed(spec.name, verdict.reason, begun=step.begun))

    async def _call(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> ToolResult:
        """The tool's own answer. Whatever goes wrong inside the tool is a ToolError here."""
        try:
            async with asyncio.timeout(context.timeout_seconds) as limit:
                result = await await_foreign(self._tools.call(call, context))
        except ToolTimeout as error:
            raise ToolTimeout(f"{error}{doubt(spec)}") from error
        except (ToolError, RunRevoked, OutcomeUnknown, StepMismatch):
            raise
        # A tool is foreign code: even its `sys.exit()` must not end the process that runs it.
        except (Exception, SystemExit) as error:
            if limit.expired():
                raise ToolTimeout(
                    f"The tool {spec.name!r} did not finish within {context.timeout_seconds:g} s.{doubt(spec)}"
                ) from error
            raise ToolFailed(f"The tool {call.name!r} failed: {said_by(error)}") from error
        if not isinstance(result, ToolResult) or not isinstance(result.content, str):
            raise ToolFailed(f"The tool {call.name!r} answered with something that is not a text result.")
        return result


class _NotAllowed(Exception):
    """The security manager said no; the message is meant for the model."""


def _intent(step: _Step, spec: ToolSpec, context: ToolContext) -> StepIntent:
    return StepIntent(
        key=step.key,
        kind=StepKind.tool,
        fingerprint=step.fingerprint,
        payload={
            "call_id": step.call.id,
            "name": step.call.name,
            "arguments": step.call.arguments,
            "idempotency_key": context.idempotency_key,
            # Kept with the intent: when it is needed, the tool may be out of reach.
            "on_unknown": spec.on_unknown.value,
        },
    )
