"""The benchmark: ours beside what else a user could pick, on one machine, in one run, in rounds that alternate.

python load_tests/bench --quick                                    # a tenth of the tasks
python load_tests/bench --works end-to-end --systems ours-inprocess dramatiq
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
sys.path[:0] = [str(HERE), str(REPOSITORY)]

import driver  # noqa: E402
from bars import judged  # noqa: E402
from environments import SYSTEMS, NotInstalled, interpreter, versions  # noqa: E402
from page import write_page  # noqa: E402
from processes import Failed, processes  # noqa: E402
from raw_limits import limits  # noqa: E402
from results import Results, table, with_kept  # noqa: E402
from services import Services  # noqa: E402
from trial import Bench, Figure  # noqa: E402
from works import WORKS  # noqa: E402

from ops_core.tests.free_port import free_port  # noqa: E402

KEPT = REPOSITORY / ".ops-core" / "bench"
LATEST = HERE / "results" / "latest.json"
#: A full run of these would take hours: there they get a tenth of the tasks.
SLOW = ("celery", "procrastinate", "dbos", "restate")
#: What the parts can do, without any system.
RAW = "raw"
ROUNDS = 3
WRITES = f"write {LATEST.relative_to(REPOSITORY)}, the page of the documentation and its chart, as well"


def main() -> int:
    # As with Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    results = Results(options.results / f"{_commit()}-{'quick' if options.quick else 'full'}")
    pythons: dict[str, str] = {}
    for system in options.systems:
        try:
            pythons[system] = interpreter(_file_of(system), kept_in=KEPT / "environments")
        except NotInstalled as missing:
            print(f"{system}: not installed: {missing}")
            results.keep_failure("install", system, 0, str(missing))
    with Services() as services:
        if "limits" in options.works:
            for round in range(1, options.rounds + 1):
                if options.again or not results.has("limits", RAW, round):
                    _run(services, results, sys.executable, "limits", RAW, round, options)
        for work in [work for work in options.works if work != "limits"]:
            measured = [system for system in pythons if WORKS[work].systems is None or system in WORKS[work].systems]
            for round in range(1, options.rounds + 1):
                for system in measured:
                    if options.again or not results.has(work, system, round):
                        _run(services, results, pythons[system], work, system, round, options)
    latest = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "load_tests/bench", *sys.argv[1:]]),
        "machine": _machine(),
        "versions": {system: versions(python) for system, python in pythons.items()} if options.write else {},
        "commit": _commit(),
        "rows": results.rows(),
        "failed": results.failures(),
    }
    print(table(latest["rows"], latest["failed"]))
    print(judged(latest["rows"]))
    if options.write:
        LATEST.parent.mkdir(exist_ok=True)
        latest = with_kept(latest, LATEST)
        LATEST.write_text(json.dumps(latest, indent=1) + "\n")
        write_page(latest)
    return 0


def _options() -> argparse.Namespace:
    known = sorted(_name_of(file) for file in SYSTEMS.glob("*_*.py"))
    works = ["limits", *WORKS]
    usual = ["limits", *(name for name, work in WORKS.items() if not work.alone)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=known, choices=known, metavar="SYSTEM", help=", ".join(known))
    parser.add_argument("--works", nargs="+", default=usual, choices=works, metavar="WORK", help=", ".join(works))
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the tasks: short runs flatter")
    parser.add_argument("--tasks", type=int, help="so many in each work, instead")
    parser.add_argument("--rounds", type=int, help=f"(default: {ROUNDS}; quickly: 1)")
    parser.add_argument("--again", action="store_true", help="also what this commit has a result of")
    parser.add_argument("--results", type=Path, default=KEPT, help="where each run is kept (default: .ops-core/bench)")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write {LATEST.relative_to(REPOSITORY)}, the page of the documentation and its chart",
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    return options


def _run(
    services: Services,
    results: Results,
    python: str,
    work: str,
    system: str,
    round: int,
    options: argparse.Namespace,
) -> None:
    started = time.monotonic()
    try:
        figures = _measured(services, python, work, system, options)
    except Failed as failed:
        print(f"{work}, {system}: failed: {failed}", flush=True)
        results.keep_failure(work, system, round, str(failed))
        return
    if figures is None:
        return
    results.keep(work, system, round, figures)
    shown = ", ".join(f"{one.metric} {one.value:,.1f} {one.unit}" for one in figures)
    print(f"{work}, {system}, round {round}: {shown} ({time.monotonic() - started:.0f} s)", flush=True)


def _measured(
    services: Services, python: str, work: str, system: str, options: argparse.Namespace
) -> list[Figure] | None:
    """None: the system does not do this work."""
    if system == RAW:
        with _set_up(services, python, system, 0, {}) as bench:
            return limits(bench)
    asked = WORKS[work]
    tasks = options.tasks or (asked.quick if options.quick else asked.tasks)
    if system in SLOW and not options.quick and not asked.same_for_all:
        tasks //= 10
    wanted = {name: text.format(tasks=tasks) for name, text in asked.environment.items()}
    with _set_up(services, python, system, tasks, wanted) as bench:
        if bench.about["works"] is not None and work not in bench.about["works"]:
            return None
        return asked.measure(bench)


@contextmanager
def _set_up(services: Services, python: str, system: str, tasks: int, wanted: Mapping[str, str]) -> Iterator[Bench]:
    """The system with a database, a virtual host and a folder of its own, its processes not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="ops-core-bench-"))
    try:
        with services.fresh() as (database, broker):
            environment = {**_environment(database, broker, folder), **wanted}
            about = {}
            if system != RAW:
                about = _ordered(python, system, "describe", environment)
                _ordered(python, system, "prepare", environment)
            with processes(folder, environment) as running:
                yield Bench(
                    system=_file_of(system),
                    python=python,
                    folder=folder,
                    about=about,
                    database_url=database,
                    broker_url=broker,
                    environment=environment,
                    processes=running,
                    services=services.roots,
                    tasks=tasks,
                    another=partial(_set_up, services, python, system, tasks, wanted),
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ordered(python: str, system: str, order: str, environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [python, str(Path(driver.__file__)), _file_of(system), order],
        env=environment,
        cwd=SYSTEMS,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise Failed(f"{order} failed: {done.stderr[-2_000:]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def _environment(database: str, broker: str, folder: Path) -> dict[str, str]:
    theirs = {name: text for name, text in os.environ.items() if not name.startswith(("OPS_CORE_", "AGENTKIT_"))}
    return {
        **theirs,
        "PYTHONPATH": f"{HERE}{os.pathsep}{SYSTEMS}",
        "BENCH_DATABASE_URL": database,
        "BENCH_BROKER_URL": broker,
        "BENCH_FOLDER": str(folder),
        "BENCH_PORT": str(free_port()),
        "BENCH_GRPC_PORT": str(free_port()),
        "BENCH_MODEL_PORT": str(free_port()),
    }


def _file_of(system: str) -> str:
    """Ours begin with `ours`; a peer's file does not bear the name of the package that it imports."""
    name = system.replace("-", "_")
    return name if name.startswith("ours") else f"peer_{name}"


def _name_of(file: Path) -> str:
    return file.stem.removeprefix("peer_").replace("_", "-")


def _machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
