"""Every error ops_core raises, in one tree; each leaf has a stable code.

OpsCoreError
├── InvalidInput                      the caller: the request cannot be right        HTTP 422, INVALID_ARGUMENT
│   ├── MalformedRequest              not JSON, bad UTF-8, too deep                  HTTP 400
│   ├── PayloadTooLarge               over a limit on bytes or items                 HTTP 413
│   ├── UnsupportedContentType                                                       HTTP 415
│   ├── MethodNotAllowed                                                             HTTP 405
│   ├── InputSchemaMismatch           breaks the agent's input schema
│   ├── CursorMalformed               not a cursor of ours, or of another query
│   ├── IdempotencyKeyReused          same key, other body
│   ├── ModelNotConfigured            the agent's model needs a key nobody has set
│   ├── StepNotFound                  a retry or a fork from a step that the task does not have
│   ├── DecisionNotAllowed            the approval does not offer this decision, or it does not fit
│   └── TooManySignals                the task keeps as many signals as it may
├── NotFound                                                                         HTTP 404, NOT_FOUND
│   ├── TaskNotFound
│   ├── AgentNotFound
│   ├── ApprovalNotFound
│   └── ScheduleNotFound
├── Conflict                          the task is not in a state that allows this    HTTP 409, FAILED_PRECONDITION
│   ├── TaskFinished
│   ├── TaskNotFinished
│   ├── ApprovalDecided               somebody else was first; says who
│   ├── ApprovalExpired               nobody decided in time                         HTTP 410
│   ├── ScheduleExists
│   └── ScheduleChanged               it was changed since it was read
├── Unauthenticated                                                                  HTTP 401, UNAUTHENTICATED
├── PermissionDenied                                                                 HTTP 403, PERMISSION_DENIED
│   └── NotAnApprover                 this caller may not decide this approval
├── Unavailable                       try again later                                HTTP 503, UNAVAILABLE
│   ├── StoreUnavailable
│   └── BrokerUnavailable
├── RunLost                           a worker's write came after its run was over; never leaves the worker
├── IllegalTransition                 a programming error: the table in domain/task.py forbids it
└── ConfigurationInvalid              the operator: a setting or a file is wrong; found at start
    └── AgentFileInvalid
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with one field of a request."""

    #: JSON pointer into the request body, such as `/input/topic`; empty for the whole.
    pointer: str
    #: What is wrong and what would be right.
    detail: str


class OpsCoreError(Exception):
    """Root of every error ops_core raises."""

    #: Stable and public: clients match on it.
    code: ClassVar[str] = "internal"
    #: Short, the same for every occurrence.
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        #: What happened this time and what to do about it.
        self.detail = detail
        self.problems = tuple(problems)

    @property
    def public_detail(self) -> str:
        """As much of the detail as a caller may read."""
        return self.detail


class InvalidInput(OpsCoreError):
    code = "invalid_input"
    title = "The request is not valid"


class MalformedRequest(InvalidInput):
    code = "malformed_request"
    title = "The request cannot be read"


class PayloadTooLarge(InvalidInput):
    code = "payload_too_large"
    title = "The request is too large"


class UnsupportedContentType(InvalidInput):
    code = "unsupported_content_type"
    title = "The content type is not supported"


class MethodNotAllowed(InvalidInput):
    code = "method_not_allowed"
    title = "The path does not take this method"


class InputSchemaMismatch(InvalidInput):
    code = "input_schema_mismatch"
    title = "The input does not fit the agent's schema"


class CursorMalformed(InvalidInput):
    code = "cursor_malformed"
    title = "The cursor is not valid here"


class IdempotencyKeyReused(InvalidInput):
    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"


class ModelNotConfigured(InvalidInput):
    code = "model_not_configured"
    title = "The agent's model is not configured"


class StepNotFound(InvalidInput):
    code = "step_not_found"
    title = "The task has no such step"


class DecisionNotAllowed(InvalidInput):
    code = "decision_not_allowed"
    title = "The approval does not take this decision"


class TooManySignals(InvalidInput):
    code = "too_many_signals"
    title = "The task keeps as many signals as it may"


class NotFound(OpsCoreError):
    code = "not_found"
    title = "Not found"


class TaskNotFound(NotFound):
    code = "task_not_found"
    title = "There is no such task"


class AgentNotFound(NotFound):
    code = "agent_not_found"
    title = "There is no such agent"


class ApprovalNotFound(NotFound):
    code = "approval_not_found"
    title = "There is no such approval"


class ScheduleNotFound(NotFound):
    code = "schedule_not_found"
    title = "There is no such schedule"


class Conflict(OpsCoreError):
    code = "conflict"
    title = "The task's state does not allow this"


class TaskFinished(Conflict):
    code = "task_finished"
    title = "The task has already finished"


class TaskNotFinished(Conflict):
    code = "task_not_finished"
    title = "The task has not finished"


class ApprovalDecided(Conflict):
    code = "approval_decided"
    title = "The approval has been decided"


class ApprovalExpired(Conflict):
    code = "approval_expired"
    title = "The approval has expired"


class ScheduleExists(Conflict):
    code = "schedule_exists"
    title = "There is a schedule of this name"


class ScheduleChanged(Conflict):
    code = "schedule_changed"
    title = "The schedule was changed meanwhile"


class Unauthenticated(OpsCoreError):
    code = "unauthenticated"
    title = "A valid API key is required"


class PermissionDenied(OpsCoreError):
    code = "permission_denied"
    title = "This caller may not do that"


class NotAnApprover(PermissionDenied):
    code = "not_an_approver"
    title = "This caller may not decide this approval"


class Unavailable(OpsCoreError):
    code = "unavailable"
    title = "Try again later"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"
    title = "The database cannot be reached"

    @property
    def public_detail(self) -> str:
        """Our own words. After the first colon come a driver's, with addresses and names: they are for the log."""
        return self.detail.partition(": ")[0]


class BrokerUnavailable(Unavailable):
    code = "broker_unavailable"
    title = "The message broker cannot be reached"


class RunLost(OpsCoreError):
    code = "run_lost"
    title = "The run is over and may not write any more"


class IllegalTransition(OpsCoreError):
    code = "illegal_transition"
    title = "The transition table forbids this change of status"


class ConfigurationInvalid(OpsCoreError):
    code = "configuration_invalid"
    title = "The configuration is not valid"


class AgentFileInvalid(ConfigurationInvalid):
    code = "agent_file_invalid"
    title = "An agent file is not valid"
