"""The page of the documentation with what was measured, and its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bars import judged
from results import table

PAGE = Path(__file__).resolve().parents[2] / "ops-docs" / "reference" / "benchmark.md"
CHART = PAGE.with_name("benchmark.png")

#: What the chart shows: work, metric, title, and whether less is better.
_SHOWN = (
    ("accept-16", "rate", "accepted, 16 in flight, tasks/s", False),
    ("drain", "rate", "backlog worked off, tasks/s", False),
    ("end-to-end", "rate", "end to end, tasks/s", False),
    ("end-to-end", "cpu", "end to end, CPU of all processes, µs a task", True),
    ("latency", "p50", "latency at 20 tasks/s, p50, ms", True),
    ("latency", "p99", "latency at 20 tasks/s, p99, ms", True),
)
_OURS, _PEERS = "#1f6feb", "#9aa4b2"

_HEAD = """# Benchmark

Generated from the results of `make bench`. How each figure is measured, and how each peer is set up, stands in
`load_tests/bench/README.md`. Figures move with the machine: read them as ratios between rows. Each is the median of its
runs, which alternate between the systems.

"""


def write_page(latest: Mapping[str, Any]) -> None:
    """Page and chart of these results, in the form of `latest.json`."""
    short = " One round of a tenth of the tasks: short runs flatter." if "--quick" in latest["command"] else ""
    machine = ", ".join(f"{name} {value}" for name, value in latest["machine"].items())
    PAGE.write_text(
        f"{_HEAD}Measured on {_run(latest)} ({machine}).{short}{_earlier(latest)}\n\n"
        "![Rates and latencies of all systems](benchmark.png)\n\n"
        f"## Bars\n\n{judged(latest['rows'])}\n## Figures\n\n{table(latest['rows'], latest['failed'])}"
    )
    write_chart(latest["rows"], CHART)


def _run(of: Mapping[str, Any]) -> str:
    return f"{of['date'][:10]} at commit `{of['commit']}` with `{of['command']}`"


def _earlier(latest: Mapping[str, Any]) -> str:
    works: dict[str, list[str]] = {}
    for work, run in latest["earlier"].items():
        works.setdefault(_run(run), []).append(f"`{work}`")
    return "".join(f"\n\n{', '.join(names)}: measured on {run}." for run, names in works.items())


def write_chart(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A panel for each of the main works, the best on top; lines show the spread."""
    # Only for this: the harness does without it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 2, figsize=(11, 11), layout="constrained")
    for panel, (work, metric, title, less_is_better) in zip(panels.flat, _SHOWN, strict=True):
        shown = [row for row in rows if (row["work"], row["metric"]) == (work, metric)]
        shown.sort(key=lambda row: row["median"], reverse=less_is_better)
        medians = [row["median"] for row in shown]
        spread = [[row["median"] - row["min"] for row in shown], [row["max"] - row["median"] for row in shown]]
        colours = [_OURS if row["system"].startswith("ours") else _PEERS for row in shown]
        panel.barh([row["system"] for row in shown], medians, xerr=spread, color=colours, error_kw={"lw": 1})
        panel.set_title(title, loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
