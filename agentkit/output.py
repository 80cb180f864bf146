"""The JSON an agent must answer with: what the model is told about it, and the check of its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from agentkit.errors import ConfigurationError
from agentkit.transcript import JsonObject, JsonValue

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_FENCE = re.compile(r"^```[\w-]*\s*\n(.*?)\n?```$", re.DOTALL)
#: Characters of a validator's message that the model is shown.
_MESSAGE_LENGTH = 500
_PROBLEMS_NAMED = 5


class OutputFormatError(ValueError):
    """An answer does not fit the output schema; the message is meant for the model."""


class OutputFormat:
    """An output schema in use."""

    def __init__(self, schema: JsonObject) -> None:
        """
        Raises:
            ConfigurationError: `schema` is not a JSON Schema.
        """
        self.schema = schema
        _ = self._validator

    def value(self, output: JsonValue) -> Any:
        """What `read` gave, in the form that the program wants."""
        return output

    def instructions(self) -> str:
        """What the model has to be told."""
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"Your final answer must be JSON, and nothing but JSON, that fits this JSON Schema:\n{schema}"

    def read(self, answer: str) -> JsonValue:
        """The answer as JSON that fits the schema; a code fence around it is accepted.

        Raises:
            OutputFormatError: it is not JSON, or does not fit.
            ConfigurationError: a `$ref` of the schema cannot be followed; only those within it are.
        """
        # Imported on first use, as the validator.
        from referencing.exceptions import Unresolvable

        value = _json_in(answer)
        try:
            error = next(iter(self._validator.iter_errors(value)), None)
        except Unresolvable as broken:
            raise ConfigurationError(f"output has a $ref that leads nowhere: {broken}") from broken
        except RecursionError as deep:
            raise OutputFormatError("the JSON is nested too deeply to be checked") from deep
        if error is not None:
            where = "".join(f"[{part!r}]" for part in error.absolute_path)
            problem = error.message[:_MESSAGE_LENGTH]
            raise OutputFormatError(f"the JSON does not fit the schema: at ${where}: {problem}")
        return value

    @cached_property
    def _validator(self) -> Draft202012Validator:
        # Imported on first use: most agents have no output schema.
        from jsonschema import Draft202012Validator, SchemaError
        from referencing import Registry

        try:
            Draft202012Validator.check_schema(self.schema)
        except SchemaError as error:
            raise ConfigurationError(f"output is not a JSON Schema: {error.message}") from error
        # An empty registry: a `$ref` to the network must not be followed.
        registry: Registry[bool | Mapping[str, Any]] = Registry()
        return Draft202012Validator(self.schema, registry=registry)


class TypedOutputFormat(OutputFormat):
    """A type in use. Pydantic says what its schema is, and has the last word on an answer."""

    def __init__(self, output_type: type[Any]) -> None:
        """
        Raises:
            ConfigurationError: Pydantic knows no JSON Schema of the type.
        """
        self._adapter: TypeAdapter[Any]
        try:
            self._adapter = TypeAdapter(output_type)
            schema = self._adapter.json_schema()
        except PydanticUserError as error:
            raise ConfigurationError(f"output {output_type!r} has no JSON Schema: {error}") from error
        super().__init__(schema)

    def read(self, answer: str) -> JsonValue:
        output = super().read(answer)
        self._validated(output)
        return output

    def value(self, output: JsonValue) -> Any:
        return self._validated(output)

    def _validated(self, output: JsonValue) -> Any:
        try:
            # As JSON: a date is a text there.
            return self._adapter.validate_json(json.dumps(output))
        except ValidationError as error:
            raise OutputFormatError(f"the JSON does not fit: {_problems_of(error)}") from error


def output_format(output: JsonObject | type[Any]) -> OutputFormat:
    """What an agent is given as its output, in use.

    Raises:
        ConfigurationError: it is neither a JSON Schema nor a type that has one.
    """
    return OutputFormat(output) if isinstance(output, dict) else TypedOutputFormat(output)


def _problems_of(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    said = [
        f"at ${''.join(f'[{part!r}]' for part in each['loc'])}: {each['msg']}" for each in problems[:_PROBLEMS_NAMED]
    ]
    return "; ".join(said)[:_MESSAGE_LENGTH]


def _json_in(answer: str) -> JsonValue:
    text = answer.strip()
    if fenced := _FENCE.match(text):
        text = fenced.group(1)
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise OutputFormatError(f"the answer is not JSON: {error}") from error
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
