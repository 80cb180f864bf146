"""Runs rows of the fault table and keeps each result as it ends: `python -m ops_core.tests.faults.run`.

A row that has a result for this commit, size and seed is not run again: a run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops_core.tests.faults.lab import Lab
from ops_core.tests.faults.report import write_page
from ops_core.tests.faults.row import CannotRun, Row
from ops_core.tests.faults.rows import ALL
from ops_core.tests.faults.tally import Tally

REPOSITORY = Path(__file__).resolve().parents[3]
RESULTS = REPOSITORY / ".ops-core" / "faults"


def run_row(lab: Lab, row: Row, *, size: str, seed: int, control: bool) -> tuple[Tally, float]:
    """One run of one row, and the seconds it took.

    Raises:
        CannotRun: what it needs is not here.
    """
    lab.outside.forget()
    began = time.monotonic()
    wanted = row.control_size() if control else row.size(size)
    tally = row.run(lab, wanted, random.Random(f"{seed}/{row.name}/{control}"), control)
    return tally, time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    asked = _parser().parse_args(arguments)
    if asked.write_docs:
        simulated = asked.results / "simulation.json"
        simulation = json.loads(simulated.read_text()) if simulated.exists() else None
        write_page(_results(asked.results, asked.size), simulation)
        return 0
    rows = [row for row in ALL if not asked.only or row.name in asked.only]
    # Told to end, it leaves no server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked.results.mkdir(parents=True, exist_ok=True)
    failed = 0
    with Lab() as lab:
        for row in rows:
            failed += not _done(lab, row, asked)
    return 1 if failed else 0


def _done(lab: Lab, row: Row, asked: argparse.Namespace) -> bool:
    """Run a row and its control, unless that was done before; whether all is as it should be."""
    commit = _commit()
    file = asked.results / f"{row.name}-{asked.size}.json"
    if file.exists() and not asked.again:
        kept = json.loads(file.read_text())
        if (kept["commit"], kept["seed"]) == (commit, asked.seed):
            print(f"{row.name}: done before", flush=True)
            return bool(kept["passed"])
    try:
        result = _result(lab, row, asked, commit)
    except CannotRun as missing:
        print(f"{row.name}: SKIPPED, {missing}", flush=True)
        return False
    file.write_text(json.dumps(result, indent=2) + "\n")
    verdict = "passed" if result["passed"] else "FAILED"
    print(f"{row.name}: {verdict}", flush=True)
    return bool(result["passed"])


def _result(lab: Lab, row: Row, asked: argparse.Namespace, commit: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "row": row.name,
        "fault": row.fault,
        "remedy": row.remedy,
        "size": asked.size,
        "parameters": dict(row.size(asked.size)),
        "seed": asked.seed,
        "commit": commit,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    passed = True
    if not asked.control_only:
        tally, seconds = run_row(lab, row, size=asked.size, seed=asked.seed, control=False)
        result |= {"seconds": round(seconds, 1), "tally": dataclasses.asdict(tally), "broken": tally.broken}
        passed = not tally.broken and tally.tasks > 0
        _tell(row, "", tally, seconds)
    if not asked.no_control:
        tally, seconds = run_row(lab, row, size=asked.size, seed=asked.seed, control=True)
        result["control"] = {
            "seconds": round(seconds, 1),
            "broken": tally.found_out,
            "tally": dataclasses.asdict(tally),
        }
        passed = passed and bool(tally.found_out)
        _tell(row, " (control)", tally, seconds)
    return result | {"passed": passed}


def _tell(row: Row, which: str, tally: Tally, seconds: float) -> None:
    figures = {
        "tasks": tally.tasks,
        "faults": tally.faults,
        "repeats": tally.repeats,
        "late": tally.late_calls,
        "crashes": tally.crashes,
    }
    print(f"{row.name}{which}: {seconds:.1f} s {figures | tally.seen} found {tally.broken or 'nothing'}", flush=True)
    for line in tally.findings[:4]:
        print(f"    {line}", flush=True)


def _results(folder: Path, size: str) -> list[dict[str, Any]]:
    """Those there are, in the order of the table."""
    files = [folder / f"{row.name}-{size}.json" for row in ALL]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+changes" if changed else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops_core.tests.faults.run", description=__doc__)
    parser.add_argument("--size", choices=("short", "full"), default="full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=[row.name for row in ALL], help="these rows alone")
    parser.add_argument("--again", action="store_true", help="also what has a result already")
    parser.add_argument("--no-control", action="store_true", help="without the runs that must fail")
    parser.add_argument("--control-only", action="store_true", help="only the runs that must fail")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept")
    parser.add_argument("--write-docs", action="store_true", help="run nothing: write the page from the results")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
