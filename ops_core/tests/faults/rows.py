"""The rows of the fault table, in its order."""

from __future__ import annotations

from ops_core.tests.faults import (
    api_killed,
    broker_killed,
    clocks_off,
    database_killed,
    effect_killed,
    long_agents,
    poison,
    races,
    rolling_restart,
    sqlite_claims,
    streams_cut,
    tickets_tripled,
    votes_raced,
    worker_killed,
    worker_stopped,
)
from ops_core.tests.faults.row import Row

ALL: tuple[Row, ...] = (
    api_killed.ROW,
    tickets_tripled.ROW,
    worker_killed.ROW,
    effect_killed.ROW,
    worker_stopped.ROW,
    long_agents.ROW,
    broker_killed.ROW,
    database_killed.ROW,
    clocks_off.ROW,
    poison.ROW,
    rolling_restart.ROW,
    races.ROW,
    votes_raced.ROW,
    streams_cut.ROW,
    sqlite_claims.ROW,
)
