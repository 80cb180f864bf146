"""What callers may ask about queues: what each has, and how many slots it wants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ops_core.domain.caller import Caller, Operation
from ops_core.domain.task import QUEUE_NAME
from ops_core.errors import FieldProblem, InvalidInput
from ops_core.ports import QueueLoad, QueueStore
from ops_core.services.name_cursors import decode_name_cursor, encode_name_cursor
from ops_core.services.permission import require

_QUEUE = re.compile(QUEUE_NAME)
#: Most queues that one page may have: each is counted.
MAX_PAGE = 100


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Some queues by name, and where the list goes on."""

    queues: Sequence[QueueLoad]
    next_cursor: str | None


class QueueService:
    """Queues and workers are shared by all namespaces, tasks are not: only those of the caller's namespace are counted,
    and a queue in which there are none is told only while a worker serves it. Whoever scales workers that serve several
    namespaces adds up what the callers of each are told. All methods raise StoreUnavailable when the database cannot be
    reached, and PermissionDenied when the caller's roles do not allow them."""

    def __init__(self, *, queues: QueueStore, silent_seconds: float) -> None:
        """A worker that was not heard of for `silent_seconds` counts no more."""
        self._queues = queues
        self._silent_seconds = silent_seconds

    async def get(self, caller: Caller, name: str) -> QueueLoad:
        """One that nobody has heard of has nothing in it: whoever scales workers asks before the first task.

        Raises:
            InvalidInput: no queue can be called so.
        """
        require(caller, Operation.look)
        if not _QUEUE.fullmatch(name):
            _refuse("/name", "must be 1 to 63 lower-case letters, digits, `_` or `-`, and begin with a letter or `_`")
        (load,) = await self._queues.load_queues(caller.namespace, [name], silent_seconds=self._silent_seconds)
        return load

    async def list(self, caller: Caller, *, limit: int = 50, cursor: str | None = None) -> QueuePage:
        """Queues that have something ready or running, or a worker; by name. A page may have fewer than `limit` and
        still be followed by another.

        Raises:
            CursorMalformed, InvalidInput.
        """
        require(caller, Operation.look)
        if not 1 <= limit <= MAX_PAGE:
            _refuse("/limit", f"must be between 1 and {MAX_PAGE}, not {limit}")
        after = decode_name_cursor("queues", caller.namespace, cursor) if cursor is not None else ""
        known = await self._queues.list_queue_names(caller.namespace, silent_seconds=self._silent_seconds)
        # Sorted here: databases differ in where they put `-` and `_`.
        left = sorted(name for name in known if name > after)
        names = left[:limit]
        loads = await self._queues.load_queues(caller.namespace, names, silent_seconds=self._silent_seconds)
        next_cursor = encode_name_cursor("queues", caller.namespace, names[-1]) if len(left) > limit else None
        return QueuePage([load for load in loads if load.wanted_slots or load.workers], next_cursor)


def _refuse(pointer: str, detail: str) -> None:
    raise InvalidInput(f"`{pointer[1:]}` {detail}.", problems=[FieldProblem(pointer, detail)])
