"""Notes that an agent keeps under a name and finds again in every run of its session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from agentkit.errors import BadToolArguments, ConfigurationError, ToolFailed
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.tools.function import FunctionTool, tool
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import ToolCall, ToolResult

_KEY_LENGTH = 200
_Key = Annotated[
    str, Field(min_length=1, max_length=_KEY_LENGTH, description="Name of the note, such as user/language")
]


class NoteStore(Protocol):
    """Where notes are kept. Each call is atomic."""

    async def get(self, session_id: str, key: str) -> str | None:
        """The note; None when there is none of that name."""

    async def set_if_room(self, session_id: str, key: str, value: str, *, max_notes: int) -> bool:
        """Keep the note, in place of one of that name; False when the session has as many others as it may."""

    async def delete(self, session_id: str, key: str) -> bool:
        """Forget the note; False when there was none."""

    async def keys(self, session_id: str) -> Sequence[str]:
        """The names of all notes of the session, sorted."""


class MemoryNoteStore:
    """Keeps notes as long as the process lives."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[str, str]] = {}

    async def get(self, session_id: str, key: str) -> str | None:
        return self._sessions.get(session_id, {}).get(key)

    async def set_if_room(self, session_id: str, key: str, value: str, *, max_notes: int) -> bool:
        notes = self._sessions.setdefault(session_id, {})
        if key not in notes and len(notes) >= max_notes:
            return False
        notes[key] = value
        return True

    async def delete(self, session_id: str, key: str) -> bool:
        notes = self._sessions.get(session_id, {})
        was_there = notes.pop(key, None) is not None
        if not notes:
            self._sessions.pop(session_id, None)
        return was_there

    async def keys(self, session_id: str) -> Sequence[str]:
        return sorted(self._sessions.get(session_id, {}))


class Notes(BaseToolManager):
    """The tools note_set, note_get, note_list and note_delete, over the notes of one session."""

    def __init__(
        self, store: NoteStore, *, session_id: str, max_notes: int = 200, max_value_bytes: int = 16_000
    ) -> None:
        """
        Raises:
            ConfigurationError: the session has no id, or a limit is no number above 0.
        """
        if not session_id or min(max_notes, max_value_bytes) <= 0:
            raise ConfigurationError("notes need the id of a session, and limits greater than 0")
        self._store = store
        self._session_id = session_id
        self._max_notes = max_notes
        self._max_value_bytes = max_value_bytes
        self._tools = ToolRegistry(self._made_tools())

    async def specs(self) -> Sequence[ToolSpec]:
        return await self._tools.specs()

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return await self._tools.call(call, context)

    def _made_tools(self) -> list[FunctionTool[..., Any]]:
        store, session_id = self._store, self._session_id

        @tool(on_unknown=OnUnknown.retry)
        async def note_set(key: _Key, value: str) -> str:
            """Keep a note for later runs, in place of one of the same name."""
            self._check_value(value)
            if not await store.set_if_room(session_id, _checked_key(key), value, max_notes=self._max_notes):
                raise ToolFailed(f"There are {self._max_notes} notes already; delete one first.")
            return f"Kept {key!r}."

        @tool(side_effect=False)
        async def note_get(key: _Key) -> str:
            """Read a note."""
            if (value := await store.get(session_id, _checked_key(key))) is None:
                raise ToolFailed(f"There is no note {key!r}.")
            return value

        @tool(side_effect=False)
        async def note_list() -> str:
            """List the names of all notes."""
            return "\n".join(await store.keys(session_id)) or "There are no notes."

        @tool(on_unknown=OnUnknown.retry)
        async def note_delete(key: _Key) -> str:
            """Forget a note."""
            was_there = await store.delete(session_id, _checked_key(key))
            return f"Deleted {key!r}." if was_there else f"{key!r} was not there."

        return [note_set, note_get, note_list, note_delete]

    def _check_value(self, value: str) -> None:
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise BadToolArguments("The note is not valid Unicode (a lone surrogate).") from error
        # A database may hold everything but this.
        if "\x00" in value:
            raise BadToolArguments("The note holds a NUL character.")
        if size > self._max_value_bytes:
            raise ToolFailed(f"A note may have {self._max_value_bytes:,} bytes, not {size:,}.")


def _checked_key(key: str) -> str:
    """
    Raises:
        BadToolArguments: the name could not be read in a list.
    """
    if not key.isprintable() or key != key.strip():
        raise BadToolArguments("The name of a note needs printable characters, with no blank at its ends.")
    return key
