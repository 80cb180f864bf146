"""Makes the tool calls of one answer: judged, journaled, bounded, and an observation whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentkit.approvals import Approvals, Permitted
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
from agentkit.hooks import FinishedStep, RunHooks
from agentkit.journal import Journal, StepIntent, StepKind, StepResult
from agentkit.limits import Limits
from agentkit.observations import Observation, cut_to_bytes, doubt, earlier_try, no_such_tool, of_edited_call, said_by
from agentkit.recording import record_even_if_cancelled
from agentkit.security.base import BaseSecurityManager
from agentkit.security.redaction import Redactor
from agentkit.tool_steps import ToolStep
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.tools.waits import Waits
from agentkit.transcript import JsonObject, ToolCall, ToolResult
from agentkit.unknown_outcomes import CallAgain, Settled, settle
from agentkit.waits import RunSuspended, Wait

#: What the model can do better when it asks again.
_MISASKED = frozenset({UnknownTool.code, BadToolArguments.code})


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of one call."""

    result: ToolResult
    seconds: float
    #: The call itself was wrong (no such tool, bad arguments), so the model has to ask differently.
    misasked: bool


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
        redactor: Redactor,
    ) -> None:
        self._run_id = run_id
        self._redactor = redactor
        self._tools = tools
        self._limits = limits
        self._journal = journal
        self._hooks = hooks
        self._approvals = Approvals(security=security, journal=journal, timeout_seconds=limits.tool_seconds)

    async def call_all(self, step: int, calls: Sequence[ToolCall], specs: Mapping[str, ToolSpec]) -> list[Observed]:
        """Make these calls at the same time; what came of them is in their order.

        All of them are looked up in the journal before the first is made, so that a call whose outcome is unknown
        stops the run before its siblings act. A call that waits lets its siblings finish first. When one raises, the
        others are cancelled.

        Raises:
            RunSuspended: with all that these calls wait for.
            StepMismatch, OutcomeUnknown, WaitAnswerInvalid, RunRevoked
        """
        steps = [self._look_up(f"{step}/tool/{i}", call, specs) for i, call in enumerate(calls, 1)]
        if any(each.result is None for each in steps):
            self._journal.check()
        begun = [(each, self._settled(each)) for each in steps]
        _suspend_for([found for _, found in begun if isinstance(found, Wait)])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._observe(each, found))
                    for each, found in begun
                    if not isinstance(found, Wait)
                ]
        except BaseExceptionGroup as several:
            error = several.exceptions[0]
        else:
            return _all_observed([task.result() for task in tasks])
        raise error

    def _look_up(self, key: str, call: ToolCall, specs: Mapping[str, ToolSpec]) -> ToolStep:
        known = self._journal.recall(key)
        step = ToolStep(key, call, specs, known)
        if known is not None and not known.fits(step.fingerprint):
            raise StepMismatch(
                key,
                journaled=f"{known.payload.get('name', known.kind.value)} ({known.fingerprint[:8]})",
                now=f"{call.name} ({step.fingerprint[:8]})",
            )
        return step

    def _settled(self, step: ToolStep) -> Settled | None:
        return settle(step, step.intent, self._journal) if step.intent is not None else None

    async def _observe(self, step: ToolStep, settled: CallAgain | Observation | None) -> Observed | RunSuspended:
        """A suspension is returned, not raised: the siblings of a call that waits are not cancelled."""
        if step.result is not None:
            return self._seen(step, step.result, replayed=True)
        self._hooks.step_started(step.key, StepKind.tool, step.call.name)
        try:
            result = await self._execute(step, settled)
            await record_even_if_cancelled(self._journal, result)
        except BaseException as error:
            self._hooks.step_broken_off(step.key, error)
            if isinstance(error, RunSuspended):
                return error
            raise
        return self._seen(step, result, replayed=False)

    def _seen(self, step: ToolStep, done: StepResult, *, replayed: bool) -> Observed:
        is_error = bool(done.payload["is_error"])
        self._hooks.step_finished(
            FinishedStep(
                key=step.key,
                kind=StepKind.tool,
                name=step.call.name,
                seconds=done.seconds,
                replayed=replayed,
                is_error=is_error,
            )
        )
        result = ToolResult(step.call.id, step.call.name, done.payload["content"], is_error)
        # Arguments that a person chose are no mistake of the model.
        misasked = done.payload["error"] in _MISASKED and not done.payload.get("edited")
        return Observed(result, done.seconds, misasked)

    async def _execute(self, step: ToolStep, settled: CallAgain | Observation | None) -> StepResult:
        started = time.monotonic()
        match await self._permit(step, settled):
            case Observation() as said:
                call, edited = step.call, False
            case Permitted(call, edited) as permitted:
                said = await self._make(step, permitted, settled)
        payload: JsonObject = {
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "content": cut_to_bytes(self._redactor.text(said.content), self._limits.tool_result_bytes),
            "is_error": said.is_error,
            "error": said.error,
        }
        return StepResult(
            key=step.key,
            kind=StepKind.tool,
            fingerprint=step.fingerprint,
            payload=payload | {"edited": True} if edited else payload,
            seconds=time.monotonic() - started,
        )

    async def _permit(self, step: ToolStep, settled: CallAgain | Observation | None) -> Permitted | Observation:
        if isinstance(settled, Observation):
            return settled
        if step.spec is None:
            told = no_such_tool(step.call.name, step.specs) + earlier_try(step.intent is not None)
            return Observation(told, is_error=True, error=UnknownTool.code)
        return await self._approvals.permit(step, step.spec, self._context(step))

    def _context(self, step: ToolStep) -> ToolContext:
        # A call that was begun stays the same call to the outside, whichever run goes on with it.
        own = f"{self._run_id}:{step.key}"
        return ToolContext(
            run_id=self._run_id,
            step_key=step.key,
            idempotency_key=own if step.intent is None else step.intent.payload["idempotency_key"],
            timeout_seconds=self._limits.tool_seconds,
        )

    async def _make(self, step: ToolStep, permitted: Permitted, settled: CallAgain | Observation | None) -> Observation:
        spec = step.specs[step.call.name]
        waits = Waits(step.key, self._journal, refusal=_refusal(spec))
        context = replace(self._context(step), waits=waits)
        if spec.side_effect and (key := _intent_key(step, settled)) is not None:
            await self._journal.intend(_intent(key, step, permitted, spec, context))
        self._journal.check_begun()
        try:
            result = await self._call(permitted.call, spec, context)
            said = Observation(result.content, result.is_error)
        except ToolError as error:
            said = Observation(str(error), is_error=True, error=error.code)
        # Asked of the waits themselves: a tool may have caught what they raised.
        if (stop := waits.stop) is not None:
            raise stop
        return (
            replace(said, content=of_edited_call(permitted.call.arguments, said.content)) if permitted.edited else said
        )

    async def _call(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> ToolResult:
        """The tool's own answer. Whatever goes wrong inside the tool is a ToolError here."""
        try:
            async with asyncio.timeout(context.timeout_seconds) as limit:
                result = await await_foreign(self._tools.call(call, context))
        except ToolTimeout as error:
            raise ToolTimeout(f"{error}{doubt(spec)}") from error
        except (ToolError, RunRevoked, OutcomeUnknown, StepMismatch):
            raise
        except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt):
            raise  # said to the run, not by the tool
        # A tool is foreign code: even its `sys.exit()` must not end the process that runs it.
        except BaseException as error:
            if limit.expired():
                raise ToolTimeout(
                    f"The tool {spec.name!r} did not finish within {context.timeout_seconds:g} s.{doubt(spec)}"
                ) from error
            raise ToolFailed(f"The tool {call.name!r} failed: {said_by(error)}") from error
        if not isinstance(result, ToolResult) or not isinstance(result.content, str):
            raise ToolFailed(f"The tool {call.name!r} answered with something that is not a text result.")
        return result


def _suspend_for(waits: Sequence[Wait]) -> None:
    if waits:
        raise RunSuspended(waits)


def _all_observed(seen: Sequence[Observed | RunSuspended]) -> list[Observed]:
    _suspend_for([wait for each in seen if isinstance(each, RunSuspended) for wait in each.waits])
    return [each for each in seen if isinstance(each, Observed)]


def _refusal(spec: ToolSpec) -> str:
    """A tool that waits is called again from its beginning, so it must be one that may be."""
    if not spec.side_effect or spec.on_unknown is OnUnknown.retry:
        return ""
    return (
        f"The tool {spec.name!r} cannot wait: it has a side effect, and would have to be called twice. "
        "Only a tool declared side_effect=False or on_unknown='retry' can."
    )


def _intent_key(step: ToolStep, settled: CallAgain | Observation | None) -> str | None:
    """Where to write that the call is about to be made; None when that is written already."""
    if step.intent is None:
        return step.key
    return settled.intent_key if isinstance(settled, CallAgain) else None


def _intent(key: str, step: ToolStep, permitted: Permitted, spec: ToolSpec, context: ToolContext) -> StepIntent:
    payload: JsonObject = {
        "call_id": step.call.id,
        "name": step.call.name,
        "arguments": permitted.call.arguments,
        "idempotency_key": context.idempotency_key,
        # Kept with the intent: when they are needed, the tool and its policy may be out of reach.
        "on_unknown": spec.on_unknown.value,
    }
    return StepIntent(
        key=key,
        kind=StepKind.tool,
        fingerprint=step.fingerprint,
        payload=payload | {"terms": permitted.terms} if permitted.terms else payload,
    )
