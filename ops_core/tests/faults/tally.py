"""What the oracle found: the figures of one run of one row."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

#: What must be zero, whatever was done to the system.
ZERO = (
    "lost",
    "stuck",
    "wrongly_ended",
    "submitted_twice",
    "completed_twice",
    "claimed_twice",
    "steps_again",
    "stale_writes",
    "sent_twice",
    "other_key",
    "gaps",
)

#: Counts of a row's own which say that the run was no proof.
NOT_A_FINDING = frozenset({"not_struck", "not_asked"})


@dataclass(kw_only=True)
class Tally:
    """Counts over all tasks of a run."""

    tasks: int = 0
    #: Kills, stops, cuts: how often the fault struck.
    faults: int = 0

    #: Accepted, and not in the database.
    lost: int = 0
    #: Not final although the lease is over and the housekeeper has looked.
    stuck: int = 0
    #: Final in a state that this task must not end in.
    wrongly_ended: int = 0
    #: One idempotency key, two tasks.
    submitted_twice: int = 0
    #: More than one final event in a round.
    completed_twice: int = 0
    #: Claimed while another run held it.
    claimed_twice: int = 0
    #: Calls of a model or a tool for a step whose result was in the journal by then.
    steps_again: int = 0
    #: Events written by a run that did not hold the task.
    stale_writes: int = 0
    #: Repeats of a call that nobody may repeat without a person's yes (`ask`, `fail`).
    sent_twice: int = 0
    #: Calls for one step under different idempotency keys.
    other_key: int = 0
    #: Tasks whose events are not numbered 1, 2, 3, …
    gaps: int = 0
    #: What this row alone counts and must be zero.
    own: dict[str, int] = field(default_factory=dict)

    #: Allowed: a call under way when its process died, made again; `retry` tools with the same key.
    repeats: int = 0
    #: Allowed: calls made by a process that stood still between its check and the call.
    late_calls: int = 0
    #: Allowed: leases lost.
    crashes: int = 0
    #: Whatever else is worth a look.
    seen: dict[str, float] = field(default_factory=dict)
    #: For people: the first findings, one line each.
    findings: list[str] = field(default_factory=list)

    @property
    def broken(self) -> dict[str, int]:
        """Every count that should be zero and is not."""
        found = {name: getattr(self, name) for name in ZERO} | self.own
        return {name: count for name, count in found.items() if count}

    @property
    def found_out(self) -> dict[str, int]:
        """What a control has shown: that the fault did not strike, or asked nobody, shows nothing."""
        return {name: count for name, count in self.broken.items() if name not in NOT_A_FINDING}

    def add(self, other: Tally) -> None:
        """Take the counts of another part of the same row in."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, dict):
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count
            else:
                setattr(self, each.name, mine + theirs)

    def note(self, what: str) -> None:
        if len(self.findings) < 20:
            self.findings.append(what)
