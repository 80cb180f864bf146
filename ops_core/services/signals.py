"""What callers can do with signals: send one to a task, and see which were sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from ops_core.domain.caller import Caller, Operation
from ops_core.domain.signal import SIGNAL_NAME, NewSignal, Signal
from ops_core.domain.task import JsonValue
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import FieldProblem, InvalidInput, TaskNotFound
from ops_core.ports import Nudge, NudgeBus, NudgeKind, Sent, SignalStore, TaskStore
from ops_core.services.cursors import ListOfTask, cut_page, decode_cursor
from ops_core.services.json_shape import json_problem
from ops_core.services.limits import TaskLimits
from ops_core.services.permission import require
from ops_core.services.relay import SupportsAnnounce
from ops_core.services.submission import idempotency_key_problems
from ops_core.telemetry import LogEvent, get_logger

#: Most signals in one page.
MAX_LISTED = 1_000

_NAME = re.compile(SIGNAL_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRequest:
    """A signal that a caller wants to send."""

    name: str
    payload: JsonValue = None
    #: The same key to the same task is the same signal.
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class SignalPage:
    """Some signals, in the order of sending, and where the list goes on."""

    signals: Sequence[Signal]
    next_cursor: str | None


class SignalService:
    """Signals to tasks of the caller's namespace. All methods raise StoreUnavailable when the database cannot be
    reached, and PermissionDenied when the caller's roles do not allow them."""

    def __init__(
        self, *, signals: SignalStore, tasks: TaskStore, relay: SupportsAnnounce, nudges: NudgeBus, limits: TaskLimits
    ) -> None:
        self._signals = signals
        self._tasks = tasks
        self._relay = relay
        self._nudges = nudges
        self._limits = limits
        self._ids = Uuid7Source()
        self._log = get_logger()

    async def send(self, caller: Caller, task_id: UUID, request: SignalRequest) -> Sent:
        """Give the signal to the step that waits for its name; or keep it until one does.

        Raises:
            TaskNotFound, TaskFinished, TooManySignals. InvalidInput: what is wrong is in its problems.
        """
        require(caller, Operation.signal)
        if problems := [*self._problems(request)]:
            shown = "; ".join(f"`{one.pointer[1:].replace('/', '.')}` {one.detail}" for one in problems)
            raise InvalidInput(f"{shown}.", problems=problems)
        new = NewSignal(
            id=self._ids.new(),
            name=request.name,
            payload=request.payload,
            sent_by=caller.subject,
            idempotency_key=request.idempotency_key,
        )
        sent = await self._signals.send_signal(caller.namespace, task_id, new, max_kept=self._limits.max_signals)
        self._relay.announce(sent.rings)
        if not sent.replayed:
            self._nudges.send([Nudge(NudgeKind.event, task_id)])
            self._log.info(LogEvent.signal_sent, task_id=str(task_id), signal=request.name, by=caller.subject)
        return sent

    async def list(self, caller: Caller, task_id: UUID, *, limit: int, cursor: str | None) -> SignalPage:
        """Those sent to the task, oldest first.

        Raises:
            TaskNotFound, CursorMalformed, InvalidInput.
        """
        require(caller, Operation.look)
        if not 1 <= limit <= MAX_LISTED:
            detail = f"must be between 1 and {MAX_LISTED:,}, not {limit}"
            raise InvalidInput(f"`limit` {detail}.", problems=[FieldProblem("/limit", detail)])
        if await self._tasks.get_task(caller.namespace, task_id) is None:
            raise TaskNotFound(f"There is no task {task_id}. List tasks to find the one you mean.")
        query = ListOfTask("signals", caller.namespace, task_id)
        after = None if cursor is None else decode_cursor(query, cursor)
        found = await self._signals.list_signals(caller.namespace, task_id, limit=limit + 1, after=after)
        return SignalPage(*cut_page(query, found, limit, place_of=lambda one: (one.sent_at, one.id)))

    def _problems(self, request: SignalRequest) -> Iterator[FieldProblem]:
        if not _NAME.fullmatch(request.name):
            yield FieldProblem(
                "/name", "must be 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
            )
        problem = json_problem(
            request.payload, max_depth=self._limits.max_json_depth, max_bytes=self._limits.max_signal_bytes
        )
        if problem is not None:
            yield FieldProblem(f"/payload{problem.pointer}", problem.detail)
        yield from idempotency_key_problems(request.idempotency_key, self._limits)
