"""agentkit's journal port over the task's event log: what makes an agent's run durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from agentkit.errors import RunRevoked
from agentkit.journal import ADOPTED, Recalled, StepIntent, StepKind, StepResult
from agentkit.waits import Wait, WaitKind
from ops_core.domain.event import Event, EventType, NewEvent, StepPhase
from ops_core.domain.task import JsonObject, TaskUsage
from ops_core.errors import RunLost, StoreUnavailable
from ops_core.ports import RunControl, RunStopReason, RunStore
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()

T = TypeVar("T")

#: Pauses between tries while the database is away; the last one repeats until the lease is over.
_PAUSES_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)

#: `kind` of the two events of a wait: what is waited for, and the answer.
_WAIT = "wait"

#: Round of the events that a fork has copied from the task it was made of.
_ADOPTED_ROUND = 0

#: Of what a model call has used, by the same names in a task's usage.
_TOKEN_KINDS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")

_RESULT_TYPES = {StepKind.llm: EventType.llm_completed, StepKind.tool: EventType.tool_completed}


class TaskJournal:
    """The journal of one claim of one task."""

    def __init__(self, runs: RunStore, control: RunControl, *, round: int, events: Sequence[Event]) -> None:
        self._runs = runs
        self._control = control
        self._results: dict[str, StepResult] = {}
        self._intents: dict[str, StepIntent] = {}
        self._answers: dict[str, JsonObject] = {}
        self._round = round
        self._last_step: NewEvent | None = None
        self._begun_waits: set[str] = set()
        for event in events:
            self._recollect(event)

    @property
    def usage(self) -> TaskUsage:
        """What the steps known so far have used: replayed ones too, but not those that a fork took over."""
        steps = [step for step in self._results.values() if step.fingerprint != ADOPTED]
        calls = [step.payload["usage"] for step in steps if step.kind is StepKind.llm]
        return TaskUsage(
            steps=len(calls),
            tool_calls=len(steps) - len(calls),
            active_seconds=round(sum([step.seconds for step in steps]), 6),
            **{kind: sum([call.get(kind, 0) for call in calls]) for kind in _TOKEN_KINDS},
        )

    @property
    def last_step(self) -> NewEvent | None:
        """What came of the step that ends the run; it is to be written with that end."""
        return self._last_step

    def recall(self, key: str) -> Recalled:
        return self._results.get(key) or self._intents.get(key)

    def answer(self, key: str) -> JsonObject | None:
        return self._answers.get(key)

    def has_begun(self, wait: Wait) -> bool:
        """Whether this round has waited for it before."""
        return wait.key in self._begun_waits

    @property
    def child_answers(self) -> Mapping[str, JsonObject]:
        """By key, the answers about children that a step is going to read: those of recorded steps are left out."""
        middle = f"/{WaitKind.child}/"
        return {
            key: answer
            for key, answer in self._answers.items()
            if middle in key and key.rpartition(middle)[0] not in self._results
        }

    def complete_answer(self, key: str, answer: JsonObject) -> None:
        """Put what the log leaves out into an answer, for this claim."""
        self._answers[key] = answer

    async def refuse_child(self, wait: Wait, answer: JsonObject) -> None:
        """Write that there will be no such child: the step gets its answer at once.

        Raises:
            RunRevoked: this run may not write any more; nothing was written.
        """
        payload = {"kind": _WAIT, "wait": wait.kind.value, "fingerprint": "", "answer": answer, "seconds": 0}
        event = NewEvent(type=EventType.child_finished, step_key=wait.key, phase=StepPhase.result, payload=payload)
        await self._append(event)
        self._answers[wait.key] = answer

    def check(self) -> None:
        if reason := self._control.stop_reason:
            raise RunRevoked(f"the run must stop: {reason}")

    def check_begun(self) -> None:
        if self._control.stop_reason is RunStopReason.lost:
            raise RunRevoked("the lease may be over")

    async def intend(self, intent: StepIntent) -> None:
        await self._append(
            NewEvent(
                type=EventType.tool_started,
                step_key=intent.key,
                phase=StepPhase.intent,
                payload={**intent.payload, "kind": intent.kind.value, "fingerprint": intent.fingerprint},
            )
        )
        self._intents[intent.key] = intent

    async def record(self, result: StepResult) -> None:
        await self._append(_result_event(result))
        self._results[result.key] = result

    def conclude(self, result: StepResult) -> None:
        assert self._last_step is None, "a run ends once"
        self._last_step = _result_event(result)
        self._results[result.key] = result

    async def _append(self, event: NewEvent) -> None:
        try:
            await retry_until_lost(self._control, lambda: self._runs.append(self._control.lease, event))
        except RunLost as error:
            raise RunRevoked(str(error)) from error

    def _recollect(self, event: Event) -> None:
        if event.step_key is None or event.phase is None:
            return
        payload = dict(event.payload)
        adopted = event.round == _ADOPTED_ROUND
        if payload["kind"] == _WAIT:
            # A fork's steps come with their results; its own waits, and its own approval, are asked anew.
            if event.phase is StepPhase.result and not adopted:
                self._answers[event.step_key] = payload["answer"]
            if event.phase is StepPhase.intent and event.round == self._round:
                self._begun_waits.add(event.step_key)
            return
        kind, fingerprint = StepKind(payload.pop("kind")), str(payload.pop("fingerprint"))
        if adopted:
            fingerprint = ADOPTED
        if event.phase is StepPhase.result:
            seconds = float(payload.pop("seconds"))
            self._results[event.step_key] = StepResult(
                key=event.step_key, kind=kind, fingerprint=fingerprint, payload=payload, seconds=seconds
            )
        else:
            self._intents[event.step_key] = StepIntent(
                key=event.step_key, kind=kind, fingerprint=fingerprint, payload=payload
            )


def _result_event(result: StepResult) -> NewEvent:
    return NewEvent(
        type=_RESULT_TYPES[result.kind],
        step_key=result.key,
        phase=StepPhase.result,
        payload={
            **result.payload,
            "kind": result.kind.value,
            "fingerprint": result.fingerprint,
            "seconds": round(result.seconds, 6),
        },
    )


async def retry_until_lost(control: RunControl, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the store again while the database is away, for as long as the lease can be ours.

    What has been done and paid for is worth the wait; a write that is repeated finds what it wrote before.

    Raises:
        RunLost: the lease is over, by the database's word or by our own clock.
    """
    pauses: list[float] = list(_PAUSES_SECONDS)
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            if len(pauses) == len(_PAUSES_SECONDS):
                _log.warning(LogEvent.store_waiting, reason=error.detail)
            if control.stop_reason is RunStopReason.lost:
                raise RunLost("the database was away until the lease was over") from error
            await asyncio.sleep(pauses.pop(0) if len(pauses) > 1 else pauses[0])
