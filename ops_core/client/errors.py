"""Every error the client raises, in one tree.

ClientError
├── RequestRefused         the server answered with a problem; `code` is stable, `detail` says what to do
├── RequestUnsendable      it holds what cannot be sent: text that is not Unicode, or a value that JSON lacks
├── ServerUnreachable      no answer: no connection, or it broke, or it took too long
├── AnswerNotUnderstood    something answered, and it does not speak our API
└── WaitTimedOut           the task goes on; the caller's time is over
"""

from __future__ import annotations

from collections.abc import Sequence

from ops_core.domain.task import JsonObject
from ops_core.errors import FieldProblem


class ClientError(Exception):
    """Root of every error the client raises."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        #: What happened and what to do about it.
        self.detail = detail


class RequestRefused(ClientError):
    """The server answered with a problem (RFC 9457)."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        title: str = "",
        problems: Sequence[FieldProblem] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        #: From the server's error tree, such as `task_not_found`.
        self.code = code
        self.title = title
        self.problems = tuple(problems)
        self.request_id = request_id

    @classmethod
    def from_json(cls, body: JsonObject, *, status: int) -> RequestRefused:
        """The problem document as an error; whatever is missing in it is left empty."""
        return cls(
            str(body.get("detail") or body.get("title") or f"the server answered {status}"),
            status=status,
            code=str(body.get("code") or "unknown"),
            title=str(body.get("title") or ""),
            problems=[
                FieldProblem(str(item.get("pointer", "")), str(item.get("detail", "")))
                for item in body.get("errors") or []
                if isinstance(item, dict)
            ],
            request_id=body.get("request_id"),
        )


class RequestUnsendable(ClientError):
    """What was to be sent cannot be written as JSON."""


class ServerUnreachable(ClientError):
    """There was no answer."""


class AnswerNotUnderstood(ClientError):
    """There was an answer, and it is not one of our API."""


class WaitTimedOut(ClientError):
    """The time the caller gave is over; the task goes on."""
