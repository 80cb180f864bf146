"""A deterministic simulation: the real store, services, runner and agent over a fake broker and a virtual clock.

One thread, one event loop whose time jumps, one SQLite file. Several *nodes* (an API, workers, a housekeeper) share
the file, each with objects of its own, as processes do. A node can die before or after any of its commits; what it was
doing then never goes on. Tickets are dropped, doubled, reordered and late. The same seed gives the same run.

`python -m ops_core.tests.faults.simulation --seeds 10000` runs many; a seed that fails is printed with its steps, and
`--seed N` replays it.
"""
