"""Notes of a session: the store's contract, and the tools over it."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit import BadToolArguments, ConfigurationError, OnUnknown, ToolContext, ToolFailed
from agentkit.testing import call_of
from agentkit.tools.notes import MemoryNoteStore, Notes, NoteStore

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=30)


@pytest.fixture
def store() -> NoteStore:
    return MemoryNoteStore()


async def use(notes: Notes, tool: str, **arguments: Any) -> str:
    return (await notes.call(call_of(tool, **arguments), CONTEXT)).content


async def test_a_note_is_kept_replaced_and_forgotten(store: NoteStore) -> None:
    assert await store.get("s", "a") is None
    assert await store.set_if_room("s", "a", "1", max_notes=2)
    assert await store.set_if_room("s", "a", "", max_notes=2)
    assert await store.get("s", "a") == ""
    assert await store.delete("s", "a")
    assert not await store.delete("s", "a")
    assert await store.get("s", "a") is None


async def test_the_names_of_notes_are_sorted(store: NoteStore) -> None:
    for key in ("b", "a", "c"):
        await store.set_if_room("s", key, "x", max_notes=3)
    assert list(await store.keys("s")) == ["a", "b", "c"]


async def test_a_session_keeps_no_more_notes_than_it_may_but_may_replace_them(store: NoteStore) -> None:
    assert await store.set_if_room("s", "a", "1", max_notes=1)
    assert not await store.set_if_room("s", "b", "1", max_notes=1)
    assert await store.set_if_room("s", "a", "2", max_notes=1)
    assert await store.set_if_room("t", "b", "1", max_notes=1)
    assert list(await store.keys("s")) == ["a"]


async def test_sessions_do_not_see_each_others_notes(store: NoteStore) -> None:
    await use(Notes(store, session_id="one"), "note_set", key="a", value="1")
    assert await use(Notes(store, session_id="two"), "note_list") == "There are no notes."
    with pytest.raises(ToolFailed, match="There is no note 'a'"):
        await use(Notes(store, session_id="two"), "note_get", key="a")


async def test_another_run_of_the_session_finds_the_notes(store: NoteStore) -> None:
    assert await use(Notes(store, session_id="s"), "note_set", key="user/language", value="Português") == (
        "Kept 'user/language'."
    )
    later = Notes(store, session_id="s")
    assert await use(later, "note_list") == "user/language"
    assert await use(later, "note_get", key="user/language") == "Português"
    assert await use(later, "note_delete", key="user/language") == "Deleted 'user/language'."
    assert await use(later, "note_delete", key="user/language") == "'user/language' was not there."


async def test_one_note_too_many_is_refused(store: NoteStore) -> None:
    notes = Notes(store, session_id="s", max_notes=2)
    for key in ("a", "b", "a"):
        await use(notes, "note_set", key=key, value="x")
    with pytest.raises(ToolFailed, match="2 notes already"):
        await use(notes, "note_set", key="c", value="x")


async def test_a_note_that_is_too_long_is_refused(store: NoteStore) -> None:
    notes = Notes(store, session_id="s", max_value_bytes=4)
    await use(notes, "note_set", key="a", value="üü")
    with pytest.raises(ToolFailed, match="4 bytes, not 6"):
        await use(notes, "note_set", key="a", value="üüü")
    assert await use(notes, "note_get", key="a") == "üü"


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "a\x00", " a", "a ", "\u202ea"])
@pytest.mark.parametrize("tool", ["note_set", "note_get", "note_delete"])
async def test_a_name_that_cannot_be_listed_is_refused(store: NoteStore, tool: str, key: str) -> None:
    with pytest.raises(BadToolArguments):
        await use(Notes(store, session_id="s"), tool, key=key, **({"value": "x"} if tool == "note_set" else {}))


@pytest.mark.parametrize("value", ["a\x00b", "\ud800"])
async def test_a_value_that_a_database_cannot_hold_is_refused(store: NoteStore, value: str) -> None:
    with pytest.raises(BadToolArguments):
        await use(Notes(store, session_id="s"), "note_set", key="a", value=value)


async def test_keeping_and_forgetting_may_be_repeated(store: NoteStore) -> None:
    specs = {spec.name: spec for spec in await Notes(store, session_id="s").specs()}
    assert list(specs) == ["note_set", "note_get", "note_list", "note_delete"]
    assert {name for name, spec in specs.items() if spec.side_effect} == {"note_set", "note_delete"}
    assert specs["note_set"].on_unknown is specs["note_delete"].on_unknown is OnUnknown.retry


@pytest.mark.parametrize("options", [{"session_id": ""}, {"session_id": "s", "max_notes": 0}])
def test_notes_without_session_or_room_are_an_error_of_configuration(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Notes(MemoryNoteStore(), **options)
