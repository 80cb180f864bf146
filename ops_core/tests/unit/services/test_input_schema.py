from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.errors import ConfigurationInvalid
from ops_core.services.input_schema import DEFAULT_INPUT_SCHEMA, InputSchemas, schema_problems


def agent(schema: dict[str, Any] | None) -> Agent:
    definition = AgentDefinition(name="a", input_schema=schema)
    return Agent(
        namespace="default",
        name="a",
        digest=definition.digest,
        definition=definition,
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_an_agent_without_a_schema_wants_a_goal_and_takes_more() -> None:
    schemas = InputSchemas()
    assert schemas.problems(agent(None), {"goal": "x", "tone": "kind"}) == []
    assert "'goal' is a required property" in schemas.problems(agent(None), {})[0].detail


@pytest.mark.parametrize(
    "value", [{}, {"goal": ""}, {"goal": "x"}, {"goal": 1}, {"goal": None}, {"goal": "x", "n": [1]}]
)
def test_what_is_waved_through_without_a_schema_fits_the_default_one(value: dict[str, Any]) -> None:
    assert InputSchemas().problems(agent(None), value) == schema_problems(DEFAULT_INPUT_SCHEMA, value)


def test_pointers_are_escaped() -> None:
    schema = {"properties": {"a/b~c": {"type": "integer"}}}
    assert InputSchemas().problems(agent(schema), {"a/b~c": "x"})[0].pointer == "/a~1b~0c"


def test_at_most_twenty_problems_are_told_and_long_values_are_cut() -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    found = InputSchemas().problems(agent(schema), {f"k{n}": "x" * 10_000 for n in range(50)})
    assert len(found) == 20
    assert all(len(problem.detail) < 400 for problem in found)


@pytest.mark.parametrize("schema", [{"type": "no such type"}, {"$ref": "http://127.0.0.1:9/schema.json"}])
def test_a_broken_schema_is_the_operators_to_mend_and_is_never_fetched(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationInvalid, match="input schema of agent 'a'"):
        InputSchemas().problems(agent(schema), {"x": 1})
