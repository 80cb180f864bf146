"""Which journaled steps a round of a task replays: its own, and those of the rounds that it goes on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from ops_core.domain.event import EventType, StepPhase
from ops_core.domain.task import TaskStatus
from ops_core.errors import StepNotFound
from ops_core.storage.schema import task_events

#: Round of the steps that a fork has taken over.
TAKEN_OVER = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """A round whose steps are replayed, those from `before_step` on left out."""

    round: int
    before_step: int | None = None


def reopenings_of(task_id: UUID) -> Select[Any]:
    """What each retry of the task said it replays."""
    columns = (task_events.c.round, task_events.c.payload)
    return select(*columns).where(task_events.c.task_id == task_id, task_events.c.type == EventType.task_reopened)


def steps_of(task_id: UUID) -> Select[Any]:
    """The events of all steps of all rounds, without what they say."""
    columns = (task_events.c.seq, task_events.c.round, task_events.c.step_key, task_events.c.phase)
    has_step = task_events.c.step_key.is_not(None)
    return select(*columns).where(task_events.c.task_id == task_id, has_step).order_by(task_events.c.seq)


def stages(round: int, reopenings: Sequence[Mapping[str, Any]]) -> Sequence[Stage]:
    """The rounds that this one replays, itself first; `reopenings` have `round` and `payload`."""
    said = {reopening["round"]: reopening["payload"] for reopening in reopenings}
    found = [Stage(round)]
    while found[-1].round > TAKEN_OVER:
        facts = said.get(found[-1].round, {})
        # The first round of a fork goes on from what it took over.
        earlier = TAKEN_OVER if found[-1].round == 1 else facts.get("replays_round")
        if earlier is None:
            break
        bounds = [bound for bound in (found[-1].before_step, facts.get("replays_before_step")) if bound is not None]
        found.append(Stage(earlier, min(bounds, default=None)))
    return found


def replayed(steps: Sequence[Mapping[str, Any]], stages: Sequence[Stage]) -> list[Mapping[str, Any]]:
    """The events that count, in their order; of a step that two rounds have, those of the later one."""
    bounds = {stage.round: stage.before_step for stage in stages}
    wanted = [step for step in steps if step["round"] in bounds and _is_before(step, bounds[step["round"]])]
    newest: dict[str, int] = {}
    for step in wanted:
        newest[step["step_key"]] = max(step["round"], newest.get(step["step_key"], TAKEN_OVER))
    return [step for step in wanted if step["round"] == newest[step["step_key"]]]


def check_reached(steps: Sequence[Mapping[str, Any]], before_step: int, status: TaskStatus) -> None:
    """A finished task that ended with `status` can be done anew from each step it has begun, and from the one it was
    about to begin.

    Raises:
        StepNotFound: the journal does not reach `before_step`.
    """
    last = max((step_number(step["step_key"]) for step in steps), default=0)
    done = _done(steps)
    # What was written on the way to a result (another try, a question) is over with it.
    open_ones = {key for key in _unfinished(steps) if _step_of(key) not in done}
    if last + 1 == before_step and status is not TaskStatus.completed and not open_ones:
        return
    if not 1 <= before_step <= max(last, 1):
        raise StepNotFound(f"The task has no step {before_step}: its last one is {last}." if last else _NO_STEPS)


def taken_over(steps: Sequence[Mapping[str, Any]], before_step: int) -> list[int]:
    """The numbers of the events that a fork copies. What was begun and has no outcome is none of its business."""
    unfinished = _unfinished(steps)
    earlier = (step for step in steps if step_number(step["step_key"]) < before_step)
    return [step["seq"] for step in earlier if step["step_key"] not in unfinished]


def step_number(step_key: str) -> int:
    """Of `3/tool/1`: 3."""
    number = step_key.partition("/")[0]
    return int(number) if number.isdecimal() else 0


_NO_STEPS = "The task has no steps yet: only step 1 can be named, or a retry from scratch."


def _is_before(step: Mapping[str, Any], bound: int | None) -> bool:
    return bound is None or step_number(step["step_key"]) < bound


def _step_of(key: str) -> str:
    """Of `3/tool/1/again/1`: `3/tool/1`."""
    return "/".join(key.split("/")[:3])


def _done(steps: Sequence[Mapping[str, Any]]) -> set[str]:
    return {step["step_key"] for step in steps if step["phase"] == StepPhase.result}


def _unfinished(steps: Sequence[Mapping[str, Any]]) -> set[str]:
    return {step["step_key"] for step in steps} - _done(steps)
