"""Faults on purpose: real processes are killed, stopped and cut off, and one oracle judges what came of every task.

What there is
- `row`: a `Row` is one line of the table: a fault, the remedy that is under test, two sizes, one function that runs it.
- `lab`: what a row stands on: a private PostgreSQL cluster, a private RabbitMQ node, the world outside, installations.
- `outside`: a fake model server that notes each call by task and step, and the effect sink, which applies the first
  request of an idempotency key and notes the repeats.
- `ledger`: what a client asked for and what it was told, written and synced before each request.
- `oracle`: the same questions to every row: is each accepted task in exactly one final state, was a journaled step
  executed again, did a run write that had no right to, was anything sent twice in silence, is anything stuck.
- `altered`: a process of the product with one thing altered: a fault strikes from within (`injected`), or it goes
  without one remedy (`without`). Nothing in the product knows of it.

Each row is run twice, with the same seed: as the product is, when the oracle must find nothing; and without the remedy,
when it must find something. A row whose control passes proves nothing and counts as failed.

    pytest -m services ops_core/tests/faults     the short sizes, with the quick controls (part of `make test`);
                                                 OPS_CORE_TEST_SEED=7 strikes at other moments
    make faults                                  the full sizes: row by row, each result saved as it ends, resumable
    python -m ops_core.tests.faults.run --only worker_killed --seed 7 --size short

To add a row: write a module with `ROW = Row(name=…, fault=…, remedy=…, short={…}, full={…}, run=run)`, where
`run(lab, size, rng, control)` starts what it needs, does the damage, and returns `oracle.judge(…)`; add it to
`rows.ALL`. When `control` is true it starts the same processes with `without=(…)`, one of the functions in
`without.REMEDIES`; name there what is taken away. A fault that must strike at an exact place is a function in
`injected.FAULTS`. What a row counts of its own and must be zero goes into `Tally.own`; what may be anything, into
`Tally.seen`. Make sure that the fault has struck (`own["not_struck"]`): a row that strikes nothing must not pass.
"""
