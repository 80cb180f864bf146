"""The one judge of all rows: asks the database, the ledger and the world outside what came of every task."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString, Protocol
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from ops_core.tests.faults.injected import checks_file
from ops_core.tests.faults.ledger import Ledger
from ops_core.tests.faults.outside import Outside
from ops_core.tests.faults.tally import Tally

FINAL_STATUSES = ("completed", "failed", "canceled", "rejected")
_FINAL_EVENTS = {f"task.{status}" for status in FINAL_STATUSES}
#: After these nobody holds the task.
_RELEASES = _FINAL_EVENTS | {"task.lease_lost", "task.handed_over", "task.retrying", "task.waiting"}

#: By the ref of a submission: the ends it may have, as a status or `failed:<code>`.
Expected = Callable[[str], Collection[str]]

#: Who wrote which event: the processes say who they are when they connect (see `lab`).
WATCH_WRITERS = """
CREATE TABLE fault_writes (task_id uuid, seq int, writer text, PRIMARY KEY (task_id, seq));
CREATE FUNCTION note_fault_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fault_writes VALUES (NEW.task_id, NEW.seq, current_setting('faults.writer', true)); RETURN NEW;
END $$;
CREATE TRIGGER note_fault_write AFTER INSERT ON task_events FOR EACH ROW EXECUTE FUNCTION note_fault_write()
"""

_TASKS = """
SELECT id, idempotency_key AS ref, status, error::jsonb ->> 'code' AS error_code, error::text AS error, seq, epoch,
    crashes, attempt, status = 'running' AND lease_expires_at > now() AS held
FROM tasks WHERE idempotency_key = ANY(%s)
"""
_EVENTS = """
SELECT e.task_id, e.seq, e.round, e.type, e.step_key, e.phase, e.at, e.payload::jsonb ->> 'epoch' AS epoch,
    e.payload::jsonb ->> 'kind' AS kind, e.payload::jsonb -> 'answer' ->> 'decision' AS decision, w.writer
FROM task_events e LEFT JOIN fault_writes w ON w.task_id = e.task_id AND w.seq = e.seq
WHERE e.task_id = ANY(%s) ORDER BY e.task_id, e.seq
"""
_PROGRESS = """
SELECT count(*) FILTER (WHERE status IN ('completed', 'failed', 'canceled', 'rejected')) AS final,
    count(*) FILTER (WHERE status = 'waiting') AS waiting,
    count(*) FILTER (WHERE status = 'scheduled' OR status = 'running' AND lease_expires_at > now()) AS alive,
    sum(seq) AS events
FROM tasks WHERE idempotency_key = ANY(%s)
"""


class Judged(Protocol):
    """What is asked of an installation."""

    #: Where its processes worked.
    directory: Path
    database_url: str


def completed(ref: str) -> Collection[str]:
    """What most rows expect."""
    return ("completed",)


def settle(database_url: str, ledger: Ledger, *, quiet_seconds: float, at_most_seconds: float = 300.0) -> float:
    """Wait until all are final, or nothing has moved for so long that nothing will; seconds it took.

    A task that is held under a good lease, or is due later, counts as moving; at most for `at_most_seconds`. One that
    waits for something outside has come to rest.
    """
    began = moved_at = time.monotonic()
    before: object = None
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as database:
        while True:
            row = database.execute(_PROGRESS, [list(ledger.refs)]).fetchone()
            assert row is not None
            now = time.monotonic()
            if row["final"] + row["waiting"] >= len(ledger.refs):
                return now - began
            if row["alive"] or row["events"] != before:
                before, moved_at = row["events"], now
            if now - moved_at > quiet_seconds or now - began > at_most_seconds:
                return now - began
            time.sleep(0.1)


def unfinished(database_url: str, ledger: Ledger) -> int:
    """How many of the ledger are not final yet."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as database:
        row = database.execute(_PROGRESS, [list(ledger.refs)]).fetchone()
    assert row is not None
    return len(ledger.refs) - int(row["final"])


def starts(database_url: str, ledger: Ledger) -> int:
    """How many claims there were."""
    statement = """SELECT count(*) FROM task_events e JOIN tasks t ON t.id = e.task_id
        WHERE e.type = 'task.started' AND t.idempotency_key = ANY(%s)"""
    return _number(database_url, statement, [list(ledger.refs)])


def attempts(database_url: str, ledger: Ledger) -> int:
    """How many attempts were counted."""
    statement = "SELECT coalesce(sum(attempt), 0) FROM tasks WHERE idempotency_key = ANY(%s)"
    return _number(database_url, statement, [list(ledger.refs)])


def started_before(database_url: str, ids: Sequence[UUID], at: datetime) -> int:
    """How many of these were claimed before that time."""
    return _number(database_url, "SELECT count(*) FROM tasks WHERE id = ANY(%s) AND started_at < %s", [list(ids), at])


def leases_lost(database_url: str, ledger: Ledger, *, but_of: str) -> int:
    """How many leases ran out, not counting those of one process."""
    statement = """
        SELECT count(*) FROM task_events e JOIN tasks t ON t.id = e.task_id
        WHERE e.type = 'task.lease_lost' AND t.idempotency_key = ANY(%s) AND (
            SELECT w.writer FROM task_events s JOIN fault_writes w ON w.task_id = s.task_id AND w.seq = s.seq
            WHERE s.task_id = e.task_id AND s.seq < e.seq AND s.type = 'task.started' ORDER BY s.seq DESC LIMIT 1
        ) <> %s"""
    return _number(database_url, statement, [list(ledger.refs), but_of])


def held_by(database_url: str, pid: int) -> int:
    """How many tasks this process holds now."""
    statement = "SELECT count(*) FROM tasks WHERE status = 'running' AND worker_id LIKE %s"
    return _number(database_url, statement, [f"%-{pid}-%"])


def last_numbers(database_url: str, ledger: Ledger) -> dict[UUID, int]:
    """The number of each task's last event."""
    statement = "SELECT id, seq FROM tasks WHERE idempotency_key = ANY(%s)"
    with psycopg.connect(database_url, autocommit=True) as database:
        return dict(database.execute(statement, [list(ledger.refs)]).fetchall())


def judge(
    system: Judged,
    ledger: Ledger,
    outside: Outside,
    *,
    expected: Expected = completed,
    faults: int = 0,
) -> Tally:
    """The figures of everything in the ledger, as it stands now."""
    with psycopg.connect(system.database_url, autocommit=True, row_factory=dict_row) as database:
        tasks = database.execute(_TASKS, [list(ledger.refs)]).fetchall()
        events = database.execute(_EVENTS, [[task["id"] for task in tasks]]).fetchall()
    tally = Tally(tasks=len(ledger.refs), faults=faults)
    by_task: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        by_task[event["task_id"]].append(event)
    _judge_submissions(tally, ledger, tasks)
    for task in tasks:
        tally.crashes += task["crashes"]
        _judge_end(tally, task, expected)
        _judge_log(tally, task, by_task[task["id"]])
    _judge_calls(tally, tasks, by_task, outside, system.directory)
    return tally


def _judge_submissions(tally: Tally, ledger: Ledger, tasks: Sequence[Mapping[str, Any]]) -> None:
    found: dict[str, set[UUID]] = defaultdict(set)
    for task in tasks:
        found[task["ref"]].add(task["id"])
    for ref in ledger.refs:
        for id in ledger.accepted(ref):
            if id not in found[ref]:
                tally.lost += 1
                tally.note(f"{ref}: {id} was accepted and is not there")
        if len(found[ref] | set(ledger.accepted(ref))) > 1:
            tally.submitted_twice += 1
            tally.note(f"{ref}: more than one task")


def _judge_end(tally: Tally, task: Mapping[str, Any], expected: Expected) -> None:
    if {task["status"], f"{task['status']}:{task['error_code']}"} & set(expected(task["ref"])):
        return
    if task["status"] not in FINAL_STATUSES:
        tally.stuck += 1
        tally.note(f"{task['ref']} {task['id']}: still {task['status']}")
    else:
        tally.wrongly_ended += 1
        tally.note(f"{task['ref']} {task['id']}: {task['status']} {task['error']}")


@dataclass(slots=True)
class _Holder:
    """Who may write, as the log says it."""

    writer: str | None = None
    epoch: int = 0


def _judge_log(tally: Tally, task: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
    """Replays one task's log: at each point at most one run may write, and it is the one of the newest claim."""
    if [event["seq"] for event in log] != list(range(1, task["seq"] + 1)):
        tally.gaps += 1
        tally.note(f"{task['ref']}: events {[event['seq'] for event in log]} of {task['seq']}")
    endings: dict[int, int] = defaultdict(int)
    holder: _Holder | None = None
    newest = 0
    for event in log:
        match event["type"]:
            case "task.started":
                if holder is not None:
                    tally.claimed_twice += 1
                    tally.note(f"{task['ref']}: claimed by {event['writer']} while {holder.writer} held it")
                if int(event["epoch"]) <= newest:
                    _stale(tally, task, event)
                newest = int(event["epoch"])
                holder = _Holder(event["writer"], newest)
            case kind if kind in _RELEASES:
                endings[event["round"]] += kind in _FINAL_EVENTS
                if int(event["epoch"]) < newest:
                    _stale(tally, task, event)
                holder = None
            case _ if event["step_key"] is not None and event["kind"] != "wait":
                if holder is None or holder.writer != event["writer"]:
                    _stale(tally, task, event)
    for count in endings.values():
        if count > 1:
            tally.completed_twice += 1
            tally.note(f"{task['ref']}: {count} final events")


def _stale(tally: Tally, task: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    tally.stale_writes += 1
    tally.note(f"{task['ref']}: {event['type']} ({event['seq']}) by {event['writer']}, which did not hold it")


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that arrived outside."""

    ref: str
    step_key: str
    by: str
    at: float

    @property
    def step(self) -> tuple[str, str]:
        return self.ref, self.step_key


def _judge_calls(
    tally: Tally,
    tasks: Sequence[Mapping[str, Any]],
    by_task: Mapping[UUID, Sequence[Mapping[str, Any]]],
    outside: Outside,
    directory: Path,
) -> None:
    """Compares the calls that arrived outside with the journal."""
    refs = {str(task["id"]): task["ref"] for task in tasks}
    logs = {refs[str(id)]: log for id, log in by_task.items()}
    checks = _Checks(directory, {ref: id for id, ref in refs.items()})
    recorded = {
        (ref, event["step_key"]): event["at"].timestamp()
        for ref, log in logs.items()
        for event in reversed(log)
        if event["phase"] == "result"
    }
    first_keys: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, str]] = set()
    sent: Counter[tuple[str, str]] = Counter()

    def arrived(call: _Call) -> None:
        if call.at <= recorded.get(call.step, call.at):
            tally.repeats += call.step in seen
        elif checks.passed_in_vain(call, logs[call.ref]):
            tally.late_calls += 1
        else:
            tally.steps_again += 1
            late = call.at - recorded[call.step]
            tally.note(f"{call.ref} {call.step_key}: executed by {call.by} {late:.3f} s after it was recorded")
        seen.add(call.step)

    for asked in outside.model_calls():
        if asked.ref in logs:
            arrived(_Call(asked.ref, asked.step_key, asked.by, asked.at))
    for effect in outside.effects():
        if effect.task_id not in refs:
            continue
        call = _Call(refs[effect.task_id], effect.step_key, effect.by, effect.at)
        if first_keys.setdefault(call.step, effect.key) != effect.key:
            tally.other_key += 1
            tally.note(f"{call.step}: sent as {first_keys[call.step]} and as {effect.key}")
        sent[call.step] += 1
        if sent[call.step] > 1 + _yeses(effect.tool, call, logs[call.ref]):
            tally.sent_twice += 1
            tally.note(f"{call.step}: sent {sent[call.step]} times, and its tool says {effect.tool}")
        arrived(call)


def _yeses(tool: str, call: _Call, log: Sequence[Mapping[str, Any]]) -> float:
    """How often the call may have been repeated by the time it arrived."""
    match tool:
        case "retry":
            return math.inf
        case "ask":
            # Each approval of a call whose outcome nobody knows is good for one more.
            asked = f"{call.step_key}/outcome"
            yeses = [event for event in log if event["phase"] == "result" and event["decision"] == "approve"]
            return len([e for e in yeses if e["step_key"].startswith(asked) and e["at"].timestamp() <= call.at])
        case _:
            return 0


class _Checks:
    """When processes looked whether they had the right to act."""

    def __init__(self, directory: Path, ids: Mapping[str, str]) -> None:
        self._directory = directory
        self._ids = ids
        self._noted: dict[str, Mapping[str, list[float]]] = {}

    def passed_in_vain(self, call: _Call, log: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the caller last looked while it held the task, stood still, lost it, and called when it went on."""
        looked_at = max((at for at in self._of(call.by).get(self._ids[call.ref], ()) if at <= call.at), default=0.0)
        return any(
            claim["at"].timestamp() <= looked_at <= release["at"].timestamp() < call.at
            for claim, release in _holdings(log)
            if claim["writer"] == call.by and release is not None and release["type"] == "task.lease_lost"
        )

    def _of(self, process: str) -> Mapping[str, list[float]]:
        if process not in self._noted:
            file = checks_file(self._directory, process)
            noted: dict[str, list[float]] = defaultdict(list)
            for line in file.read_text().splitlines() if file.exists() else ():
                id, _, at = line.partition(" ")
                noted[id].append(float(at))
            self._noted[process] = noted
        return self._noted[process]


def _holdings(log: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Each claim, with the event that ended it."""
    found: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = []
    for event in log:
        if event["type"] == "task.started":
            found.append((event, None))
        elif event["type"] in _RELEASES and found and found[-1][1] is None:
            found[-1] = (found[-1][0], event)
    return found


def _number(database_url: str, statement: LiteralString, values: Sequence[object]) -> int:
    with psycopg.connect(database_url, autocommit=True) as database:
        row = database.execute(statement, values).fetchone()
    assert row is not None
    return int(row[0])
