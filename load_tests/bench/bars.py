"""What we have set out to reach, each as a ratio within one run, and whether it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """One figure of ours against a peer's, or against a number."""

    work: str
    ours: str
    metric: str
    #: At least so many times the peer's figure; at most, where less is better.
    factor: float
    #: None: the factor is the bar itself.
    peer: str | None = None
    less_is_better: bool = False
    #: Where they are not ours.
    peer_work: str | None = None
    peer_metric: str | None = None


BARS = (
    Bar("end-to-end", "ours-inprocess", "rate", 1.5, "dramatiq"),
    Bar("end-to-end", "ours-inprocess", "rate", 3.0, "taskiq"),
    Bar("end-to-end", "ours-inprocess", "rate", 4.0, "dramatiq-row"),
    Bar("end-to-end", "ours-inprocess", "rate", 10.0, "celery"),
    Bar("drain", "ours-inprocess", "rate", 2.0, "dramatiq"),
    Bar("end-to-end", "ours-rest", "rate", 1.2, "dramatiq-row"),
    Bar("end-to-end", "ours-rest", "rate", 1.3, "restate"),
    Bar("end-to-end", "ours-rest", "rate", 3.5, "celery"),
    Bar("end-to-end", "ours-grpc", "rate", 1.2, "dramatiq-row"),
    Bar("end-to-end", "ours-grpc", "rate", 3.5, "celery"),
    Bar("end-to-end", "ours-rest-batch", "rate", 1.0, "dramatiq"),
    Bar("accept-16", "ours-rest", "rate", 1.0, "dramatiq-row"),
    Bar("accept-16", "ours-rest-batch", "rate", 2.0, "dramatiq"),
    Bar("end-to-end", "ours-rest", "cpu", 0.4, "celery", less_is_better=True),
    Bar("end-to-end", "ours-inprocess", "cpu", 0.4, "taskiq", less_is_better=True),
    Bar("latency", "ours-rest", "p50", 1.5, "dramatiq-row", less_is_better=True),
    Bar("latency", "ours-rest", "p99", 1.2, "dramatiq-row", less_is_better=True),
    Bar("waiting-1000", "ours-inprocess", "makespan-ratio", 1.5, less_is_better=True),
    Bar("waiting-1000", "ours-inprocess", "memory", 100.0, less_is_better=True),
    Bar("waiting-10000", "ours-inprocess", "makespan-ratio", 4.0, less_is_better=True),
    Bar("waiting-10000", "ours-inprocess", "memory", 400.0, less_is_better=True),
    Bar("steps", "ours-inprocess", "steps", 1.5, "ours-inprocess", peer_work="end-to-end", peer_metric="rate"),
    Bar("wake", "ours-rest", "signal p99", 50.0, less_is_better=True),
    Bar("wake", "ours-rest", "approval p99", 50.0, less_is_better=True),
    Bar("wake", "ours-rest", "timer p99", 250.0, less_is_better=True),
    Bar("stream", "ours-rest", "added p99", 50.0, less_is_better=True),
    Bar("stream", "ours-rest", "missed", 0.0, less_is_better=True),
    *(Bar("growth-10m", "ours-inprocess", f"{metric}-ratio", 0.85) for metric in ("accept", "claim", "list", "wake")),
    Bar("growth-10m", "ours-inprocess", "sequential-scans", 0.0, less_is_better=True),
    Bar("end-to-end", "ours-embedded", "rate", 1.0, "dramatiq-row"),
    *(
        Bar("idle", "ours-rest", f"memory-{role}-growth", 2.0, less_is_better=True)
        for role in ("api", "workers", "housekeeper")
    ),
    Bar("idle", "ours-rest", "p99 last", 1.1, "ours-rest", peer_metric="p99 first", less_is_better=True),
)


def judged(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: each bar that the rows say something about."""
    medians = {(row["work"], row["system"], row["metric"]): (row["median"], row["unit"]) for row in rows}
    lines = ["| work | ours | against | bar | measured | |", "|---|---|---|--:|--:|---|"]
    lines += [line for bar in BARS if (line := _line(bar, medians)) is not None]
    return "\n".join(lines) + "\n"


def _line(bar: Bar, medians: Mapping[tuple[str, str, str], tuple[float, str]]) -> str | None:
    ours = medians.get((bar.work, bar.ours, bar.metric))
    peer = medians.get((bar.peer_work or bar.work, bar.peer or "", bar.peer_metric or bar.metric))
    if ours is None or (bar.peer is not None and (peer is None or not peer[0])):
        return None
    value, unit = ours
    against = "–" if bar.peer is None else f"{bar.peer}" + (f", {bar.peer_work}" if bar.peer_work else "")
    unit = unit if bar.peer is None else "×"
    measured = value if peer is None or bar.peer is None else value / peer[0]
    is_met = measured <= bar.factor if bar.less_is_better else measured >= bar.factor
    sign = "≤" if bar.less_is_better else "≥"
    word = "met" if is_met else "**missed**"
    name = f"{bar.ours}, {bar.metric}"
    return f"| {bar.work} | {name} | {against} | {sign} {bar.factor:g} {unit} | {measured:,.2f} {unit} | {word} |"
