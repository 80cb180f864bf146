"""Agents of ten steps beside a model that answers at once: journaled steps a second, and what each of them costs."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
from trial import Bench, Figure

from works.submitting import cpu_figures

#: For `Work.environment`: agents that call a tool nine times, whose model is not replaced by a wait.
ENVIRONMENT = {"BENCH_AGENT": "steps", "BENCH_WAIT_MS": ""}

_MODEL_SERVER = Path(__file__).parents[1] / "model_server.py"
_WARM_UP = 50
_COUNT_STEPS = "SELECT count(*) FROM task_events WHERE step_key IS NOT NULL AND phase = 'result'"


def steps(bench: Bench) -> list[Figure]:
    """As end to end: 16 submits in flight, two worker processes; the CPU is a journaled step's and not a task's."""
    bench.start("servers")
    _start_model(bench)
    bench.start("workers")
    with bench.client(warm_up=_WARM_UP, in_flight=16) as client, bench.progress() as progress:
        progress.until(_WARM_UP)
        journaled, before = progress.number(_COUNT_STEPS), bench.cpu()
        client.go()
        said = client.said(bench.processes)
        ended = progress.until(_WARM_UP + bench.tasks)
        after = bench.cpu()
        journaled = progress.number(_COUNT_STEPS) - journaled
    seconds = ended - said["started"]
    overhead = sum(after[group] - before[group] for group in ("workers", "postgres"))
    return [
        Figure("steps", "1/s", journaled / seconds),
        Figure("rate", "1/s", bench.tasks / seconds),
        Figure("step-overhead", "µs/step", 1e6 * overhead / journaled),
        *cpu_figures(before, after, round(journaled), each="step"),
    ]


def _start_model(bench: Bench) -> None:
    """A process of its own: its CPU is counted apart."""
    started = bench.processes.start("model", [sys.executable, str(_MODEL_SERVER)])
    bench.groups["model"] = [psutil.Process(started.pid)]
