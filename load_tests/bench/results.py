"""Results: each run kept as it ends, and all of them as one file, a table and a chart."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trial import Figure


class Results:
    """The runs of one commit and size, in a folder: one file a run, so that a bench that is broken off goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, work: str, system: str, round: int) -> bool:
        return self._file(work, system, round).exists()

    def keep(self, work: str, system: str, round: int, figures: Sequence[Figure]) -> None:
        self._write(work, system, round, {"figures": [asdict(figure) for figure in figures]})

    def keep_failure(self, work: str, system: str, round: int, reason: str) -> None:
        self._write(work, system, round, {"failed": reason})

    def rows(self) -> list[dict[str, Any]]:
        """A row for each figure: median, least and most of its runs."""
        found: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
        for run in self._runs():
            for figure in run.get("figures", ()):
                found[run["system"], run["work"], figure["metric"], figure["unit"]].append(figure["value"])
        return [
            {
                "system": system,
                "work": work,
                "metric": metric,
                "unit": unit,
                "median": round(statistics.median(values), 3),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
                "runs": len(values),
            }
            for (system, work, metric, unit), values in found.items()
        ]

    def failures(self) -> list[dict[str, str]]:
        """What could not be measured, and why."""
        return [
            {"system": run["system"], "work": run["work"], "reason": run["failed"]}
            for run in self._runs()
            if "failed" in run
        ]

    def _runs(self) -> Iterator[dict[str, Any]]:
        for file in sorted(self._folder.glob("*.json")):
            yield json.loads(file.read_text())

    def _write(self, work: str, system: str, round: int, what: Mapping[str, Any]) -> None:
        run = {"work": work, "system": system, "round": round, **what}
        self._file(work, system, round).write_text(json.dumps(run, indent=1) + "\n")

    def _file(self, work: str, system: str, round: int) -> Path:
        return self._folder / f"{work}-{system}-{round}.json"


def with_kept(latest: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """`latest`, and of the works that it has not measured what the file has of them; `earlier` says for each of these
    which run that was."""
    if not file.exists():
        return {**latest, "earlier": {}}
    before = json.loads(file.read_text())
    measured = {row["work"] for row in [*latest["rows"], *latest["failed"]]}
    rows, failed = ([one for one in before[kind] if one["work"] not in measured] for kind in ("rows", "failed"))
    run = {name: before[name] for name in ("date", "commit", "command")}
    earlier = {one["work"]: before.get("earlier", {}).get(one["work"], run) for one in [*rows, *failed]}
    return {
        **latest,
        "versions": {**before["versions"], **latest["versions"]},
        "rows": [*latest["rows"], *rows],
        "failed": [*latest["failed"], *failed],
        "earlier": earlier,
    }


def table(rows: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, str]] = ()) -> str:
    """Markdown: the figures of each work that compare systems, best first; then what failed."""
    lines: list[str] = []
    for work in dict.fromkeys(row["work"] for row in rows):
        lines += [f"### {work}", "", "| system | metric | median | min to max | runs |", "|---|---|--:|---|--:|"]
        shown = [row for row in rows if row["work"] == work and "-" not in row["metric"]]
        for row in sorted(shown, key=lambda row: (row["metric"], row["unit"] != "1/s", -row["median"])):
            spread = f"{row['min']:,.1f} to {row['max']:,.1f}"
            metric = f"{row['metric']}, {row['unit']}"
            lines.append(f"| {row['system']} | {metric} | {row['median']:,.1f} | {spread} | {row['runs']} |")
        lines.append("")
    lines += [f"- {one['system']} in {one['work']}: {one['reason'].splitlines()[-1]}" for one in failures]
    return "\n".join(lines) + "\n"
