"""A long past for an installation, by SQL: tasks that have ended, tasks that wait, and the log of both."""

from __future__ import annotations

import math
import shutil
import time
from datetime import UTC, datetime
from typing import Any

import psycopg
from processes import Failed

AGENTS = ("noop", "reader", "writer", "planner", "clerk")
#: Each has a tenth of the tasks, as the label `customer`.
CUSTOMERS = 10
#: What all waiting tasks wait for.
SIGNAL = "go"

#: Rows, their indexes, and the log of writes that is not recycled yet.
_BYTES_A_TASK = 3_000
_TASKS_A_STEP = 50_000

_TIDYING = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' LIMIT 1"
#: Autovacuum looks for work once a minute.
_QUIET_SECONDS = 70.0
_TIDIED_SECONDS = 1800.0

# Ids are of version 7, as the service makes them, and in the order of time. `spread` is what else they are made of.
_MADE = """
WITH made AS (
    SELECT n, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || substr(spread, 1, 3) || '8' || substr(spread, 4, 15))::uuid AS id,
        (%(agents)s::text[])[1 + mod(n, 5)] AS agent,
        (ARRAY['default', 'slow', 'nightly'])[1 + mod(n / 5, 3)] AS queue,
        jsonb_build_object('customer', 'c' || mod(n / 15, %(customers)s), 'from', 'bench') AS labels
    FROM generate_series(%(first)s::int, %(last)s::int) n,
        LATERAL (SELECT %(ends_at)s::timestamptz - interval '30 days' * (1 - n::float8 / %(of)s) AS at,
            md5(%(kind)s || n) AS spread) chosen
)"""
# Of a hundred, one was canceled before it began, and two have failed.
_FINISHED = f"""{_MADE}, ended AS (
    SELECT *, CASE mod(n / 7, 100) WHEN 0 THEN 'canceled' WHEN 1 THEN 'failed' WHEN 2 THEN 'failed' ELSE 'completed' END
        AS status
    FROM made
), past AS (
    INSERT INTO tasks (id, kind, agent, agent_digest, queue, priority, input, labels, max_attempts, created_at,
        created_by, rung_at, finished_at, status, attempt, epoch, seq, started_at, worker_id, usage, result, error,
        cancel_requested_at)
    SELECT id, 'agent', agent, repeat('d', 64), queue, 5, '{{"goal":"nothing"}}', labels, 3, at, 'somebody', at,
        at + interval '2 seconds', status,
        CASE status WHEN 'canceled' THEN 0 ELSE 1 END,
        CASE status WHEN 'canceled' THEN 0 ELSE 2 END,
        CASE status WHEN 'canceled' THEN 2 WHEN 'failed' THEN 3 ELSE 4 END,
        CASE WHEN status <> 'canceled' THEN at + interval '100 milliseconds' END,
        CASE WHEN status <> 'canceled' THEN 'worker-1-abcdef' END,
        CASE WHEN status <> 'canceled' THEN json_build_object('steps', 1, 'tool_calls', 0, 'input_tokens', 0,
            'output_tokens', 0, 'cached_input_tokens', 0, 'reasoning_tokens', 0, 'active_seconds', 0.001) END,
        CASE status WHEN 'completed' THEN '{{"answer":"mock answer after 0 s","output":null}}'::json END,
        CASE status WHEN 'failed' THEN '{{"code":"agent_failed","message":"it did","retryable":false}}'::json END,
        CASE status WHEN 'canceled' THEN at + interval '2 seconds' END
    FROM ended RETURNING id, agent, queue, labels, created_at, finished_at, status, seq
)
INSERT INTO task_events (task_id, seq, round, type, step_key, phase, format, at, payload)
SELECT id, event.seq, 1, event.type, event.step_key, event.phase, 1, event.at, event.payload
FROM past, LATERAL (VALUES
    (1, 'task.submitted', NULL, NULL, created_at,
        json_build_object('agent', agent, 'queue', queue, 'priority', 5, 'labels', labels)),
    (2, 'task.started', NULL, NULL, created_at, '{{"attempt":1,"epoch":1,"worker_id":"worker-1-abcdef"}}'),
    (3, 'llm.completed', '1/llm', 'result', finished_at, '{{"message":{{"role":"assistant","text":"mock answer after '
        '0 s"}},"stop":"end","usage":{{"input_tokens":0,"output_tokens":0}},"provider":"mock","model":"mock",'
        '"kind":"llm","fingerprint":"7e0d3956175e527e9cbe5a28e96bc34b","seconds":0.001}}'),
    (past.seq, 'task.' || status, NULL, NULL, finished_at, '{{"usage":{{"steps":1,"tool_calls":0,"input_tokens":0,'
        '"output_tokens":0,"active_seconds":0.001}},"epoch":1}}')
) AS event (seq, type, step_key, phase, at, payload)
WHERE event.seq < past.seq OR event.type = 'task.' || status
"""
# Every second one has a time at which it stops to wait.
_WAITING = f"""{_MADE}, line AS (
    INSERT INTO tasks (id, kind, agent, agent_digest, queue, priority, input, labels, max_attempts, created_at,
        created_by, rung_at, started_at, status, attempt, epoch, seq, waiting_for, wake_at, worker_id)
    SELECT id, 'agent', agent, repeat('d', 64), queue, 5, '{{"goal":"nothing"}}', labels, 3, at, 'somebody', at,
        at + interval '100 milliseconds', 'waiting', 1, 2, 4, 'signal',
        CASE WHEN mod(n, 2) = 0 THEN %(ends_at)s::timestamptz + interval '30 days' END, 'worker-1-abcdef'
    FROM made RETURNING id, agent, queue, labels, created_at, wake_at
), kept AS (
    INSERT INTO waits (task_id, step_key, namespace, round, kind, name, expires_at, since)
    SELECT id, '1/tool/1/wait', 'default', 1, 'signal', %(signal)s, wake_at, created_at FROM line
)
INSERT INTO task_events (task_id, seq, round, type, step_key, phase, format, at, payload)
SELECT id, event.seq, 1, event.type, event.step_key, event.phase, 1, created_at, event.payload
FROM line, LATERAL (VALUES
    (1, 'task.submitted', NULL, NULL,
        json_build_object('agent', agent, 'queue', queue, 'priority', 5, 'labels', labels)),
    (2, 'task.started', NULL, NULL, '{{"attempt":1,"epoch":1,"worker_id":"worker-1-abcdef"}}'),
    (3, 'signal.awaited', '1/tool/1/wait', 'intent', '{{"kind":"wait","wait":"signal","fingerprint":"",'
        '"request":{{"name":"go","timeout_seconds":null}}}}'),
    (4, 'task.waiting', NULL, NULL, '{{"waiting_for":"signal","keys":["1/tool/1/wait"],"epoch":1}}')
) AS event (seq, type, step_key, phase, payload)
"""


def fill(postgres: psycopg.Connection[Any], *, finished: int, waiting: int) -> None:
    """So many of each, in the order of time over the last thirty days. Statistics and vacuum are left to autovacuum.

    Raises:
        Failed: there is no room for them.
    """
    _check_room(postgres, finished + waiting)
    ends_at = datetime.now(UTC)
    steps = math.ceil(max(finished, waiting) / _TASKS_A_STEP)
    for step in range(steps):
        for kind, statement, of in (("finished", _FINISHED, finished), ("waiting", _WAITING, waiting)):
            values = {
                "agents": list(AGENTS),
                "customers": CUSTOMERS,
                "ends_at": ends_at,
                "first": of * step // steps + 1,
                "kind": kind,
                "last": of * (step + 1) // steps,
                "of": of,
                "signal": SIGNAL,
            }
            postgres.execute(statement, values)
    # What is written of the past, and tidied up after it, is no load on the present.
    if finished:
        _wait_for_autovacuum(postgres)
    postgres.execute("CHECKPOINT")


def _wait_for_autovacuum(postgres: psycopg.Connection[Any]) -> None:
    """Until it has had nothing to do for longer than it pauses (a minute).

    Raises:
        Failed: it does not come to rest.
    """
    quiet_since = began = time.monotonic()
    while time.monotonic() - quiet_since < _QUIET_SECONDS:
        if time.monotonic() - began > _TIDIED_SECONDS:
            raise Failed(f"autovacuum is not done with the past after {_TIDIED_SECONDS:g} s")
        time.sleep(1)
        if postgres.execute(_TIDYING).fetchone() is not None:
            quiet_since = time.monotonic()


def _check_room(postgres: psycopg.Connection[Any], tasks: int) -> None:
    row = postgres.execute("SHOW data_directory").fetchone()
    assert row is not None
    free, needed = shutil.disk_usage(row[0]).free, tasks * _BYTES_A_TASK
    if free < needed:
        raise Failed(f"{tasks:,} tasks need about {needed / 1e9:.0f} GB in {row[0]}, where {free / 1e9:.0f} are free")
