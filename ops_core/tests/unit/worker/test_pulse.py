"""A pulse, from both its ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from ops_core.worker.pulse import PulseWatch, give_pulse


@pytest.fixture
def watch() -> Iterator[PulseWatch]:
    watch = PulseWatch(10.0, 1.0)
    yield watch
    watch.close()


def test_a_process_without_a_pulse_for_too_long_is_stopped(watch: PulseWatch) -> None:
    give_pulse(watch.given)
    assert [watch.is_stopped(now) for now in range(13)] == [False] * 11 + [True] * 2
    assert watch.has_begun


def test_a_process_that_gives_pulses_is_not(watch: PulseWatch) -> None:
    """The control of the test above."""
    seen = []
    for now in range(40):
        if now % 9 == 0:
            give_pulse(watch.given)
        seen.append(watch.is_stopped(now))
    assert not any(seen)


def test_a_watcher_that_stood_still_does_not_count_that_time(watch: PulseWatch) -> None:
    give_pulse(watch.given)
    assert [watch.is_stopped(now) for now in (0, 1, 3600, 3601, 3602)] == [False] * 5


def test_a_process_that_has_never_given_one_has_not_begun(watch: PulseWatch) -> None:
    assert not watch.is_stopped(0.0)
    assert not watch.has_begun


def test_whoever_gives_pulses_does_not_wait_for_a_watcher_that_reads_none(watch: PulseWatch) -> None:
    def give_many() -> None:
        for _ in range(200_000):
            give_pulse(watch.given)

    giving = threading.Thread(target=give_many, daemon=True)
    giving.start()
    giving.join(30)
    assert not giving.is_alive()


def test_a_watcher_that_is_gone_is_nobodys_error() -> None:
    watch = PulseWatch(10.0, 1.0)
    given = os.dup(watch.given)
    watch.close()
    give_pulse(given)
    os.close(given)
