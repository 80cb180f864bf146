"""Our errors as gRPC statuses with `google.rpc` details: the one table from code to status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped]  # it has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from ops_core.errors import FieldProblem, OpsCoreError

#: Of the ErrorInfo: who defines the reasons.
ERROR_DOMAIN = "ops-core"
#: The trailing metadata that every gRPC library looks for details in.
DETAILS_KEY = "grpc-status-details-bin"

_BAD = grpc.StatusCode.INVALID_ARGUMENT
_LATER = grpc.StatusCode.UNAVAILABLE

#: The status of each error code. A test holds it complete.
STATUS_CODES: Mapping[str, grpc.StatusCode] = {
    "invalid_input": _BAD,
    "malformed_request": _BAD,
    "payload_too_large": _BAD,
    "unsupported_content_type": _BAD,
    "method_not_allowed": _BAD,
    "input_schema_mismatch": _BAD,
    "cursor_malformed": _BAD,
    "idempotency_key_reused": _BAD,
    "model_not_configured": _BAD,
    "step_not_found": _BAD,
    "decision_not_allowed": _BAD,
    "too_many_signals": _BAD,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "task_not_found": grpc.StatusCode.NOT_FOUND,
    "agent_not_found": grpc.StatusCode.NOT_FOUND,
    "approval_not_found": grpc.StatusCode.NOT_FOUND,
    "schedule_not_found": grpc.StatusCode.NOT_FOUND,
    "conflict": grpc.StatusCode.FAILED_PRECONDITION,
    "task_finished": grpc.StatusCode.FAILED_PRECONDITION,
    "task_not_finished": grpc.StatusCode.FAILED_PRECONDITION,
    "approval_decided": grpc.StatusCode.FAILED_PRECONDITION,
    "approval_expired": grpc.StatusCode.FAILED_PRECONDITION,
    "schedule_exists": grpc.StatusCode.FAILED_PRECONDITION,
    "schedule_changed": grpc.StatusCode.FAILED_PRECONDITION,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "permission_denied": grpc.StatusCode.PERMISSION_DENIED,
    "not_an_approver": grpc.StatusCode.PERMISSION_DENIED,
    "unavailable": _LATER,
    "store_unavailable": _LATER,
    "broker_unavailable": _LATER,
    "internal": grpc.StatusCode.INTERNAL,
    # These three never leave a worker or a start; a caller who meets one has met a bug.
    "run_lost": grpc.StatusCode.INTERNAL,
    "illegal_transition": grpc.StatusCode.INTERNAL,
    "configuration_invalid": grpc.StatusCode.INTERNAL,
    "agent_file_invalid": grpc.StatusCode.INTERNAL,
}

#: Services name what they are given as HTTP's query does; the contract here has other names for the same.
_FIELD_NAMES: Mapping[str, str] = {
    "wait": "timeout_seconds",
    "after": "after_seq",
    "limit": "page_size",
    "cursor": "page_token",
}
#: A status travels in HTTP/2 headers, of which gRPC takes 8 kB for sure. The message is in there twice, once with three
#: bytes for each that is not ASCII, and all details once in base64.
_MAX_MESSAGE_BYTES = 700
_MAX_VIOLATION_BYTES = 2_000


def status_code_of(error: OpsCoreError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    # Without the default a code that is missing here would end the call without any status of ours.
    return STATUS_CODES.get(error.code, grpc.StatusCode.INTERNAL)


def status_message(error: OpsCoreError) -> str:
    """What a person reads: what happened and what to do about it."""
    text = error.public_detail
    for name, ours in _FIELD_NAMES.items():
        text = text.replace(f"`{name}`", f"`{ours}`")
    return _cut(text, _MAX_MESSAGE_BYTES)


def status_details(error: OpsCoreError, *, request_id: str) -> bytes:
    """The `google.rpc.Status` that goes with the status: code, request id and the fields at fault."""
    info = ErrorInfo(
        reason=error.code.upper(), domain=ERROR_DOMAIN, metadata={"code": error.code, "request_id": request_id}
    )
    details: list[Message] = [info]
    if error.problems:
        details.append(_bad_request(error.problems))
    status = Status(code=status_code_of(error).value[0], message=status_message(error))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return cast(bytes, status.SerializeToString())


def _bad_request(problems: tuple[FieldProblem, ...]) -> BadRequest:
    bad = BadRequest()
    left = _MAX_VIOLATION_BYTES
    for problem in problems:
        violation = BadRequest.FieldViolation(
            field=_cut(field_path(problem.pointer), 300), description=_cut(problem.detail, 600)
        )
        left -= violation.ByteSize()
        if left < 0:
            break
        bad.field_violations.append(violation)
    return bad


def field_path(pointer: str) -> str:
    """A JSON pointer in the form that BadRequest wants: `/tasks/0/input/topic` is `tasks[0].input.topic`."""
    path = ""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        path += f"[{name}]" if name.isdigit() and path else f".{name}" if path else _FIELD_NAMES.get(name, name)
    return path


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= max_bytes else encoded[: max_bytes - 3].decode("utf-8", "ignore") + "…"
