"""Errors as JSON: problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ops_core.errors import FieldProblem, OpsCoreError
from ops_core.wire.tasks import RESPONSE

MEDIA_TYPE = "application/problem+json"

PROBLEM_EXAMPLE: dict[str, Any] = {
    "type": "/errors/invalid_input",
    "title": "The request is not valid",
    "status": 422,
    "detail": "`priority` must be between 0 and 9 (9 runs first), not 12.",
    "instance": "/api/v1/tasks",
    "code": "invalid_input",
    "request_id": "4f0c2b7e9d1a4c6f8e3b5a7d9c1e0f2a",
    "errors": [{"pointer": "/priority", "detail": "must be between 0 and 9 (9 runs first), not 12"}],
}


class FieldProblemOut(BaseModel):
    """One thing wrong with one field."""

    model_config = RESPONSE

    pointer: str = Field(description="JSON pointer into the body; for the query or a header, `/` and its name.")
    detail: str


class ProblemOut(BaseModel):
    """What went wrong and what to do about it. Match on `code`: it is stable."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [PROBLEM_EXAMPLE]})

    type: str = Field(description="Where the code is explained.")
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldProblemOut] = Field(default_factory=list)

    @staticmethod
    def from_error(error: OpsCoreError, *, status: int, instance: str, request_id: str) -> ProblemOut:
        return ProblemOut(
            type=f"/errors/{error.code}",
            title=error.title,
            status=status,
            detail=error.public_detail,
            instance=instance,
            code=error.code,
            request_id=request_id,
            errors=[FieldProblemOut(pointer=one.pointer, detail=one.detail) for one in error.problems],
        )

    def field_problems(self) -> list[FieldProblem]:
        """For clients: the problems as the service found them."""
        return [FieldProblem(one.pointer, one.detail) for one in self.errors]
