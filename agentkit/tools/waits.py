"""How a tool call waits for something outside of the run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentkit.errors import AgentkitError, BadToolArguments, ToolError, WaitDeclined, WaitExpired
from agentkit.journal import Journal
from agentkit.transcript import JsonObject, JsonValue
from agentkit.waits import RunSuspended, Wait, WaitKind

#: A year and a day.
MAX_WAIT_SECONDS = 366 * 86_400.0
#: Characters of a question to a person.
_QUESTION_LENGTH = 10_000
_SIGNAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: Characters of the name of an agent.
_NAME_LENGTH = 128


class Waits:
    """How one tool call waits. Each method gives the answer, or stops the run here until there is one.

    Once there is an answer the tool is called again, from its beginning: whatever it does before it waits is done
    again. Waits are numbered in the order in which the call makes them, so that order must not change.
    """

    def __init__(self, step_key: str, journal: Journal, *, refusal: str = "") -> None:
        """
        Args:
            refusal: Why this call cannot wait; empty when it can.
        """
        self._step_key = step_key
        self._journal = journal
        self._refusal = refusal
        self._made: dict[WaitKind, int] = {}
        self._open: list[Wait] = []
        self._fault: AgentkitError | None = None

    async def ask(
        self,
        question: str,
        *,
        schema: JsonObject | None = None,
        timeout_seconds: float | None = None,
        groups: Sequence[str] = (),
    ) -> JsonValue:
        """What a person answers: text, or JSON that fits the schema.

        Args:
            groups: Whose members may answer; empty for anybody who may see the task.

        Raises:
            WaitExpired, WaitDeclined: nobody answered in time, or somebody would not.
            ToolError: the question is no good, or this tool cannot wait.
        """
        if not question.strip() or len(question) > _QUESTION_LENGTH:
            raise BadToolArguments(f"A question needs 1 to {_QUESTION_LENGTH} characters.")
        request = {
            "question": _storable(question),
            "schema": schema,
            "timeout_seconds": _time_limit(timeout_seconds),
            "groups": list(groups),
        }
        answer = self._answer(WaitKind.input, request)
        return _given(answer, "response", late="Nobody answered the question in time.")

    async def sleep(self, seconds: float) -> None:
        """Go on when so much time has passed.

        Raises:
            ToolError: the time is no good, or this tool cannot wait.
        """
        if not 0 <= seconds <= MAX_WAIT_SECONDS:
            raise BadToolArguments(f"Seconds to sleep must be 0 to {MAX_WAIT_SECONDS:.0f}, not {seconds}.")
        self._answer(WaitKind.timer, {"seconds": seconds})

    async def signal(self, name: str, *, timeout_seconds: float | None = None) -> JsonValue:
        """The payload of the signal. One that was sent before it is waited for counts.

        Raises:
            WaitExpired: it did not come in time.
            ToolError: the name is no good, or this tool cannot wait.
        """
        request = {"name": _signal_name(name), "timeout_seconds": _time_limit(timeout_seconds)}
        answer = self._answer(WaitKind.signal, request)
        return _given(answer, "payload", late=f"The signal {name!r} did not come in time.")

    async def call_agent(self, agent: str, input: JsonObject) -> JsonObject:
        """What became of another agent's work on this input: `task_id`, `status`, `result` and `error`.

        Raises:
            ToolError: the name is no good, or this tool cannot wait.
        """
        return self._answer(WaitKind.child, {"agent": _name(agent), "input": input})

    @property
    def stop(self) -> AgentkitError | None:
        """Why the run must stop here, however the tool ended: it may have caught what was raised."""
        if self._fault is not None:
            return self._fault
        return RunSuspended(self._open) if self._open else None

    def _answer(self, kind: WaitKind, request: JsonObject) -> JsonObject:
        if self._refusal:
            raise ToolError(self._refusal)
        number = self._made[kind] = self._made.get(kind, 0) + 1
        wait = Wait(key=f"{self._step_key}/{kind}/{number}", kind=kind, request=request)
        answer = self._journal.answer(wait.key)
        if answer is None:
            self._open.append(wait)
            raise RunSuspended([wait])
        try:
            wait.require_own(answer)
        except AgentkitError as fault:
            self._fault = fault
            raise
        return answer


def _given(answer: JsonObject, field: str, *, late: str) -> JsonValue:
    if answer.get("expired"):
        raise WaitExpired(late)
    if answer.get("declined"):
        raise WaitDeclined(f"A person declined to answer: {answer.get('reason') or 'no reason was given'}.")
    value: JsonValue = answer[field]
    return value


def _storable(text: str) -> str:
    """Without what UTF-8 or a database cannot hold."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _name(name: str) -> str:
    if not 0 < len(name) <= _NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise BadToolArguments(f"A name needs 1 to {_NAME_LENGTH} printable characters, not {name[:200]!r}.")
    return name


def _signal_name(name: str) -> str:
    """Of what can be sent by any door and typed in any terminal: one that nobody can send would be awaited for ever."""
    if not _SIGNAL.fullmatch(name):
        raise BadToolArguments(
            "The name of a signal needs 1 to 128 letters, digits, '.', '_' or '-', and begins with a letter or digit, "
            f"unlike {name[:200]!r}."
        )
    return name


def _time_limit(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds <= MAX_WAIT_SECONDS:
        raise BadToolArguments(f"A time limit must be over 0 and at most {MAX_WAIT_SECONDS:.0f} s, not {seconds}.")
    return seconds
