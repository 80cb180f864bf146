"""What is measured, each work in the file of its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trial import Bench, Figure

from works.submitting import accept, drain, end_to_end, latency


@dataclass(frozen=True)
class Work:
    """One thing that is measured of each system that can do it."""

    measure: Callable[[Bench], list[Figure]]
    #: How many tasks it takes: in full, and quickly.
    tasks: int
    quick: int
    #: Those that it is measured of; None for all.
    systems: tuple[str, ...] | None = None
    #: Takes so long that it is measured only when it is asked for by name.
    alone: bool = False


WORKS = {
    "accept-1": Work(partial(accept, in_flight=1), 10_000, 2_000),
    "accept-16": Work(partial(accept, in_flight=16), 50_000, 5_000),
    "drain": Work(drain, 50_000, 5_000),
    "end-to-end": Work(end_to_end, 50_000, 5_000),
    "latency": Work(latency, 600, 200),
}
