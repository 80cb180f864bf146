"""What is measured, each work in the file of its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from trial import Bench, Figure

from works.growth import growth
from works.hour import FULL_SPEED_TASKS, QUICK_FULL_SPEED_TASKS, hour
from works.scripts import cancel, stream, wake
from works.steps import ENVIRONMENT as STEPS
from works.steps import steps
from works.submitting import accept, drain, end_to_end, latency
from works.waiting import ENVIRONMENT as WAITING
from works.waiting import waiting

#: Those that can wait for thousands at once in one process; our doors make no difference to it.
_WAITING_THOUSANDS = ("ours-inprocess", "dramatiq", "taskiq")
_WAITING_HUNDREDS = (*_WAITING_THOUSANDS, "celery", "procrastinate", "dbos")

#: Measured by scripts that start a system of ours themselves and speak REST.
_SCRIPTED = ("ours-rest",)


@dataclass(frozen=True)
class Work:
    """One thing that is measured of each system that can do it."""

    measure: Callable[[Bench], list[Figure]]
    #: How many tasks it takes: in full, and quickly.
    tasks: int
    quick: int
    #: Those that it is measured of; None for all.
    systems: tuple[str, ...] | None = None
    #: Slow systems get all of the tasks too.
    same_for_all: bool = False
    #: What all processes find in their environment, from `describe` on; `{tasks}` stands for their number.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Takes so long that it is measured only when it is asked for by name.
    alone: bool = False


WORKS = {
    "accept-1": Work(partial(accept, in_flight=1), 10_000, 1_000),
    "accept-16": Work(partial(accept, in_flight=16), 50_000, 5_000),
    "drain": Work(drain, 50_000, 5_000),
    "end-to-end": Work(end_to_end, 50_000, 5_000),
    "latency": Work(latency, 600, 100, same_for_all=True),
    "waiting-1000": Work(waiting, 1_000, 1_000, _WAITING_HUNDREDS, same_for_all=True, environment=WAITING),
    "waiting-10000": Work(waiting, 10_000, 10_000, _WAITING_THOUSANDS, environment=WAITING),
    "steps": Work(steps, 1_000, 200, ("ours-inprocess",), environment=STEPS),
    "growth-1m": Work(partial(growth, waiting_share=1.0), 1_000_000, 10_000, ("ours-inprocess",), alone=True),
    "growth-10m": Work(partial(growth, waiting_share=0.1), 10_000_000, 100_000, ("ours-inprocess",), alone=True),
    "idle": Work(hour, FULL_SPEED_TASKS, QUICK_FULL_SPEED_TASKS, ("ours-rest",), alone=True),
    "wake": Work(wake, 1_000, 200, _SCRIPTED),
    "stream": Work(stream, 1_000, 1_000, _SCRIPTED),
    "cancel": Work(cancel, 1_000, 200, _SCRIPTED),
}
