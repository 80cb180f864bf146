"""Runs many simulated worlds: `python -m ops_core.tests.faults.simulation --worlds 10000`.

A hundred worlds have one seed in common. A seed whose worlds were all right is not run again at the same commit. One
that fails is shrunk to few steps and printed; `--seed N` replays it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ops_core.tests.faults.simulation.trial import WORLDS_A_SEED, tried

REPOSITORY = Path(__file__).resolve().parents[4]
RESULTS = REPOSITORY / ".ops-core" / "faults" / "simulation.json"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops_core.tests.faults.simulation", description=__doc__)
    parser.add_argument("--worlds", type=int, default=10_000, help="how many, 50 steps each (10000)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        print(tried(asked.seed) or "all as promised")
        return 0
    return _run_all(asked)


def _run_all(asked: argparse.Namespace) -> int:
    kept = _kept(asked.results)
    seeds = [seed for seed in range(-(-asked.worlds // WORLDS_A_SEED)) if seed not in kept["passed"]]
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.processes, mp_context=context) as pool:
        trials = {pool.submit(tried, seed): seed for seed in seeds}
        for trial in as_completed(trials):
            failure = trial.result()
            if failure is None:
                kept["passed"].append(trials[trial])
            else:
                kept["failed"][str(trials[trial])] = failure
                print(f"seed {trials[trial]} failed:\n{failure}", flush=True)
            kept["seconds"] = round(kept["seconds"] + time.monotonic() - began, 1)
            began = time.monotonic()
            asked.results.parent.mkdir(parents=True, exist_ok=True)
            asked.results.write_text(json.dumps(kept, indent=2) + "\n")
    worlds = len(kept["passed"]) * WORLDS_A_SEED
    print(f"{worlds} worlds as promised, {len(kept['failed'])} seeds failed, {kept['seconds']} s")
    return 1 if kept["failed"] else 0


def _kept(file: Path) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if file.exists():
        kept: dict[str, Any] = json.loads(file.read_text())
        if kept["commit"] == commit:
            kept["failed"] = {}
            return kept
    return {"commit": commit, "passed": [], "failed": {}, "seconds": 0.0}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
