from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from ops_core.wire.agents import AGENT_EXAMPLE, AgentOut
from ops_core.wire.approvals import APPROVAL_EXAMPLE, DECIDE_EXAMPLE, ApprovalOut, DecisionIn
from ops_core.wire.events import EVENT_EXAMPLE, EventOut
from ops_core.wire.forks import FORK_EXAMPLE, ForkIn
from ops_core.wire.info import INFO_EXAMPLE, InfoOut
from ops_core.wire.problems import PROBLEM_EXAMPLE, ProblemOut
from ops_core.wire.queues import QUEUE_EXAMPLE, QueueOut
from ops_core.wire.schedules import CREATE_EXAMPLE, SCHEDULE_EXAMPLE, ScheduleIn, ScheduleOut
from ops_core.wire.signals import SIGNAL_EXAMPLE, SignalOut
from ops_core.wire.tasks import SUBMIT_EXAMPLE, SUBMIT_FULL_EXAMPLE, TASK_EXAMPLE, TaskIn, TaskOut


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_each_operation_has_an_example_of_its_answer(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        answers = [
            content
            for status, answer in operation["responses"].items()
            if status.startswith("2")
            for content in answer.get("content", {}).values()
        ]
        says_nothing = "204" in operation["responses"] and not answers
        assert says_nothing or any("example" in content for content in answers), name


def test_each_body_has_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            models = [one["$ref"].rsplit("/", 1)[1] for one in (schema, *schema.get("anyOf", [])) if "$ref" in one]
            assert len(models) == 1, name
            assert document["components"]["schemas"][models[0]]["examples"], name


def test_each_operation_of_the_api_says_that_its_errors_are_problems(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if "/api/" in name:
            for status in ("4XX", "5XX"):
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], name
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_both_ways_to_send_the_key_are_described(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (TaskIn, SUBMIT_EXAMPLE),
        (TaskIn, SUBMIT_FULL_EXAMPLE),
        (TaskOut, TASK_EXAMPLE),
        (EventOut, EVENT_EXAMPLE),
        (AgentOut, AGENT_EXAMPLE),
        (ProblemOut, PROBLEM_EXAMPLE),
        (InfoOut, INFO_EXAMPLE),
        (ApprovalOut, APPROVAL_EXAMPLE),
        (DecisionIn, DECIDE_EXAMPLE),
        (SignalOut, SIGNAL_EXAMPLE),
        (ForkIn, FORK_EXAMPLE),
        (ScheduleIn, CREATE_EXAMPLE),
        (ScheduleOut, SCHEDULE_EXAMPLE),
        (QueueOut, QUEUE_EXAMPLE),
    ],
)
def test_examples_fit_their_models_field_by_field(model: type[BaseModel], example: dict[str, Any]) -> None:
    read = model.model_validate(example)
    if not model.__name__.endswith("In"):
        assert set(example) == set(model.model_fields)
    assert model.model_validate_json(read.model_dump_json()) == read
