"""Slots: counted across threads, and whoever waits for one is told."""

from __future__ import annotations

import threading

import pytest

from ops_core.worker.slots import Slots


def test_no_more_enter_than_there_are_slots() -> None:
    slots = Slots(3)
    assert [slots.take_up_to(1) for _ in range(4)] == [1, 1, 1, 0]
    slots.release()
    assert slots.free() == 1
    assert slots.take_up_to(5) == 1


def test_waiters_are_told_only_when_a_shut_gate_opens() -> None:
    slots, told = Slots(2), []
    stop = slots.on_room(lambda: told.append(slots.free()))
    slots.take_up_to(2)
    slots.release()
    slots.release()
    assert told == [1]
    slots.take_up_to(2)
    stop()
    stop()
    slots.release()
    assert told == [1]


def test_nothing_enters_while_paused_and_waiters_are_told_when_it_is_over() -> None:
    slots, told = Slots(2), []
    slots.on_room(lambda: told.append(True))
    slots.pause()
    assert not slots.take_up_to(1)
    slots.resume()
    assert told == [True]
    assert slots.take_up_to(1)


def test_nothing_ever_enters_a_closed_gate() -> None:
    slots = Slots(2)
    slots.take_up_to(1)
    slots.close()
    slots.resume()
    slots.release()
    assert not slots.take_up_to(1)
    assert slots.free() == 0


def test_giving_back_more_than_was_taken_is_a_mistake_that_is_seen() -> None:
    with pytest.raises(AssertionError):
        Slots(2).release()


def test_threads_that_race_for_slots_never_get_too_many() -> None:
    slots, taken = Slots(100), []

    def grab() -> None:
        taken.append(sum(slots.take_up_to(1) for _ in range(50)))

    threads = [threading.Thread(target=grab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 100
