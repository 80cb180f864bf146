"""The table from error codes to gRPC statuses, and the details that go with them."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # it has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from ops_core.errors import (
    Conflict,
    FieldProblem,
    InvalidInput,
    NotFound,
    OpsCoreError,
    PermissionDenied,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
)
from ops_core.rpc.errors import STATUS_CODES, field_path, status_code_of, status_details, status_message


def tree(root: type[OpsCoreError] = OpsCoreError) -> list[type[OpsCoreError]]:
    """The error and all below it."""
    return [root, *(error for child in root.__subclasses__() for error in tree(child))]


def test_every_error_of_the_tree_has_a_status() -> None:
    codes = {error.code for error in tree() if error.__module__ == "ops_core.errors"}

    assert codes == set(STATUS_CODES)


@pytest.mark.parametrize(
    ("branch", "status"),
    [
        (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound, grpc.StatusCode.NOT_FOUND),
        (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
        (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
        (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
        (Unavailable, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_a_branch_of_the_tree_has_one_status(branch: type[OpsCoreError], status: grpc.StatusCode) -> None:
    assert {status_code_of(error("x")) for error in tree(branch)} == {status}


@pytest.mark.parametrize(
    ("pointer", "path"),
    [
        ("", ""),
        ("/goal", "goal"),
        ("/input/topic", "input.topic"),
        ("/input/0", "input[0]"),
        ("/tasks/0/input/a~1b/12", "tasks[0].input.a/b[12]"),
        ("/cursor", "page_token"),
        ("/input/cursor", "input.cursor"),
    ],
)
def test_a_pointer_becomes_a_field_path(pointer: str, path: str) -> None:
    assert field_path(pointer) == path


def test_what_a_driver_said_is_not_for_callers() -> None:
    error = StoreUnavailable("the database cannot be reached: connection to server at 10.1.2.3 failed for user ops")

    assert status_message(error) == "the database cannot be reached"
    assert b"10.1.2.3" not in status_details(error, request_id="r")


def test_a_huge_error_still_fits_into_the_headers() -> None:
    problems = [FieldProblem(f"/tasks/{n}/labels/{'k' * 900}", "é" * 5_000) for n in range(500)]
    error = InvalidInput("ü" * 50_000, problems=problems)

    details, message = status_details(error, request_id="r" * 128), status_message(error)

    # In base64, and percent-encoded: gRPC takes 8 kB of headers for sure.
    assert len(details) * 4 / 3 + len(message.encode()) * 3 < 7_500
    assert message.endswith("…")
    status, bad = Status.FromString(details), BadRequest()
    assert status.details[1].Unpack(bad)
    assert 1 <= len(bad.field_violations) < 500
