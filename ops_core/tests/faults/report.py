"""The page with the fault table, from the results of the last full run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops_core.tests.faults.rows import ALL
from ops_core.tests.faults.simulation.trial import STEPS, WORLDS_A_SEED

PAGE = Path(__file__).resolve().parents[3] / "ops-docs" / "reference" / "faults.md"

_HEAD = """# What happened under faults

Generated from the results of `make faults`. Each row is run with real processes, a private PostgreSQL and a private
RabbitMQ, leases of 2 s, a model server and an effect sink that count calls. One judge looks at every task in the end.
Each row is run a second time without the remedy that it is about: that run must be found out.

`lost`: accepted and gone, or stuck. `twice`: completed twice, claimed by two at once, submitted twice. `again`: calls
for a step whose result was in the journal. `stale`: writes of a run that had lost its task. `sent`: side effects that
were repeated without a person's yes. `repeats` are allowed: calls that were under way when their process died, and
those that a person has approved.

"""
_LATE = """(1) [Late calls](../explanation/guarantees.md#one-writer), which nobody can prevent. A process looks
whether it still holds its task, and then sends the call. If the machine makes it stand still between the two for
longer than its lease, another takes the task over and makes the same call, and the first one sends its own when it
goes on. Whatever it tries to write after that is refused. Both calls carry the same idempotency key, so a receiver
that knows such keys does the thing once.
"""


def write_page(
    results: Sequence[Mapping[str, Any]], simulation: Mapping[str, Any] | None = None, page: Path = PAGE
) -> None:
    """`simulation` is what the simulation has kept; None when it has not been run."""
    page.write_text(_HEAD + table(results) + worlds(simulation))


def worlds(simulation: Mapping[str, Any] | None) -> str:
    """What came of the simulated worlds."""
    if simulation is None:
        return ""
    passed, failed = len(simulation["passed"]) * WORLDS_A_SEED, len(simulation["failed"])
    told = f"commit `{simulation['commit'][:12]}`, {simulation['seconds'] / 60:.0f} minutes"
    return f"""
## Simulated worlds

Beside the real processes there are simulated ones: the real store and services in one thread, with a clock of their
own, a broker that drops, doubles, delays and swaps tickets, and nodes that may die before or after any commit. Each
world is up to {STEPS} random steps long, comes to rest, and is judged as above.

**{passed:,} worlds as promised, {failed} seeds failed** ({told}:
`python -m ops_core.tests.faults.simulation --worlds {passed}`).
"""


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line a row, in the order given."""
    lines = [
        "| fault | remedy | tasks | faults | lost | twice | again | stale | sent | other | repeats | late (1) "
        "| control found |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        *(_line(result) for result in results),
        "",
    ]
    told = sorted({f"commit `{r['commit']}`, seed {r['seed']}, {r['size']} size" for r in results})
    seconds = sum(r["seconds"] for r in results)
    ran = f"Run on {'; '.join(told)}; {seconds / 60:.0f} minutes without the controls."
    missing = [row.fault for row in ALL if row.name not in {result["row"] for result in results}]
    not_run = [f"**Without a result of this size yet:** {'; '.join(missing)}.", ""] if missing else []
    return "\n".join([*lines, ran, "", *not_run, _LATE])


def _line(result: Mapping[str, Any]) -> str:
    tally = result["tally"]
    cells = [
        result["fault"],
        result["remedy"],
        tally["tasks"],
        tally["faults"],
        tally["lost"] + tally["stuck"],
        tally["completed_twice"] + tally["claimed_twice"] + tally["submitted_twice"],
        tally["steps_again"],
        tally["stale_writes"],
        tally["sent_twice"] + tally["other_key"],
        tally["wrongly_ended"] + tally["gaps"] + sum(tally["own"].values()),
        tally["repeats"],
        tally["late_calls"],
        _found(result["control"]["broken"]),
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _found(broken: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in broken.items()) or "**nothing**"
