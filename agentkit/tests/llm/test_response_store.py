"""How much a store in memory keeps, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from agentkit.llm.response_store import MemoryResponseStore
from agentkit.tests.llm.virtual_time import in_virtual_time


@in_virtual_time
async def test_what_was_kept_is_found_and_can_be_replaced() -> None:
    store = MemoryResponseStore()
    await store.keep("a", b"1")
    await store.keep("a", b"2")
    assert (await store.find("a"), await store.find("b")) == (b"2", None)


@in_virtual_time
async def test_what_is_too_old_is_gone() -> None:
    store = MemoryResponseStore(keep_seconds=10)
    await store.keep("a", b"1")
    await asyncio.sleep(9)
    assert await store.find("a") == b"1"
    await asyncio.sleep(1)
    assert await store.find("a") is None


@in_virtual_time
async def test_being_used_does_not_make_it_younger() -> None:
    store = MemoryResponseStore(keep_seconds=10)
    await store.keep("a", b"1")
    for _ in range(10):
        await asyncio.sleep(1)
        found = await store.find("a")
    assert found is None


@in_virtual_time
async def test_what_was_not_used_for_longest_makes_room() -> None:
    store = MemoryResponseStore(most_bytes=3)
    for key in "abc":
        await store.keep(key, b"1")
    await store.find("a")
    await store.keep("d", b"1")
    assert [await store.find(key) for key in "abcd"] == [b"1", None, b"1", b"1"]


@in_virtual_time
async def test_room_is_counted_in_bytes_also_after_replacing_and_forgetting() -> None:
    store = MemoryResponseStore(most_bytes=10, keep_seconds=10)
    for _ in range(100):
        await store.keep("a", b"12345")
        await asyncio.sleep(11)
        await store.find("a")
    await store.keep("b", b"12345")
    await store.keep("c", b"12345")
    assert await store.find("b") is not None
    await store.keep("d", b"1")
    assert (await store.find("b"), await store.find("c")) == (b"12345", None)


@in_virtual_time
async def test_what_is_larger_than_the_store_is_not_kept_and_drives_nothing_out() -> None:
    store = MemoryResponseStore(most_bytes=3)
    await store.keep("a", b"1")
    await store.keep("b", b"1234")
    assert (await store.find("a"), await store.find("b")) == (b"1", None)


@pytest.mark.parametrize("limits", [{"keep_seconds": 0}, {"most_bytes": 0}])
def test_a_store_that_keeps_nothing_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        MemoryResponseStore(**limits)
