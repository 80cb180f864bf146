"""Whether JSON fits a JSON Schema (Draft 2020-12): an input its agent's, a person's answer what was asked for."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.task import JsonObject, JsonValue
from ops_core.errors import ConfigurationInvalid, FieldProblem
from ops_core.services.json_shape import escape_pointer

#: What an agent takes that declares nothing: a goal, and whatever else its instructions speak of.
DEFAULT_INPUT_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"goal": {"type": "string", "minLength": 1, "description": "What the agent is to do."}},
    "required": ["goal"],
}

_MAX_PROBLEMS = 20
_MAX_DETAIL_CHARS = 300
_MAX_CACHED = 256


def input_schema_of(definition: AgentDefinition) -> JsonObject:
    """What its inputs have to fit."""
    return DEFAULT_INPUT_SCHEMA if definition.input_schema is None else definition.input_schema


class InputSchemas:
    """Checks inputs; keeps the compiled schemas of the agents seen lately."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Draft202012Validator] = OrderedDict()

    def problems(self, agent: Agent, value: JsonObject) -> list[FieldProblem]:
        """What in the input breaks the agent's schema, with pointers into the input; at most twenty.

        Raises:
            ConfigurationInvalid: the schema itself is broken.
        """
        if agent.definition.input_schema is None and _fits_default(value):
            return []
        try:
            return [_problem(error) for error in islice(self._validator(agent).iter_errors(value), _MAX_PROBLEMS)]
        except (SchemaError, Unresolvable) as exc:
            raise ConfigurationInvalid(f"The input schema of agent {agent.name!r} cannot be used: {exc}") from exc

    def _validator(self, agent: Agent) -> Draft202012Validator:
        if (known := self._compiled.get(agent.digest)) is not None:
            self._compiled.move_to_end(agent.digest)
            return known
        validator = _compiled(input_schema_of(agent.definition))
        self._compiled[agent.digest] = validator
        if len(self._compiled) > _MAX_CACHED:
            self._compiled.popitem(last=False)
        return validator


def _fits_default(value: JsonObject) -> bool:
    """Whether it surely fits DEFAULT_INPUT_SCHEMA: nearly every submit asks, and to walk a schema is dear."""
    goal = value.get("goal")
    return isinstance(goal, str) and goal != ""


def schema_problems(schema: JsonObject, value: JsonValue) -> list[FieldProblem] | None:
    """What in the value breaks the schema, with pointers into the value; at most twenty. None: the schema is broken."""
    try:
        return [_problem(error) for error in islice(_compiled(schema).iter_errors(value), _MAX_PROBLEMS)]
    except (SchemaError, Unresolvable):
        return None


def _compiled(schema: JsonObject) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema)
    # An empty registry: a `$ref` to a URL must never make us fetch it.
    return Draft202012Validator(schema, registry=Registry())


def _problem(error: ValidationError) -> FieldProblem:
    pointer = "".join("/" + escape_pointer(str(token)) for token in error.absolute_path)
    message = error.message
    if len(message) > _MAX_DETAIL_CHARS:
        # The message quotes the value, which may be as large as a body.
        message = f"{message[: _MAX_DETAIL_CHARS // 2]} … {message[-_MAX_DETAIL_CHARS // 2 :]}"
    return FieldProblem(pointer, message)
