"""The OpenAPI document: examples, problem details for every error, and how to show the key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ops_core.wire.problems import MEDIA_TYPE, PROBLEM_EXAMPLE, ProblemOut

Responses = dict[int | str, dict[str, Any]]

_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The server's API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The server's API key."},
}


def answers(
    model: type[BaseModel], example: Any, description: str, *, status: int = 200, more: Responses | None = None
) -> Responses:
    """What an operation answers: the model with an example, problem details when something is wrong, and `more`."""
    return {
        status: {
            "model": model,
            "description": description,
            "content": {"application/json": {"example": example}},
        },
        **(more or {}),
        "4XX": {"model": ProblemOut, "description": "The request cannot be met; `code` says why."},
        "5XX": {"model": ProblemOut, "description": "Try again, or look into the server's log."},
    }


def answers_nothing(description: str) -> Responses:
    """What an operation answers that has nothing to say when all went well."""
    errors = {status: answer for status, answer in answers(ProblemOut, None, "").items() if status != 200}
    return {204: {"description": description}, **errors}


def describe(app: FastAPI) -> None:
    """Complete the document that FastAPI makes."""
    made_by_fastapi = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = made_by_fastapi()
        document.setdefault("components", {})["securitySchemes"] = _SECURITY_SCHEMES
        # A server without a key asks for none: the empty requirement.
        document["security"] = [{"bearer": []}, {"apiKey": []}, {}]
        for operation in _operations(document):
            _mark_problems(operation)
        for never_sent in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(never_sent, None)
        return document

    app.openapi = complete  # type: ignore[method-assign] # FastAPI's own documented way


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def _mark_problems(operation: dict[str, Any]) -> None:
    # FastAPI's own form of a validation error, which we never send.
    operation["responses"].pop("422", None)
    for status, response in operation["responses"].items():
        if status in ("4XX", "5XX") and (content := response.get("content", {}).pop("application/json", None)):
            response["content"][MEDIA_TYPE] = {**content, "example": PROBLEM_EXAMPLE}
