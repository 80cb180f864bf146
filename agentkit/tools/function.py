"""Tools from typed Python functions: the schema comes from the type hints, and arguments are checked against them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_json

from agentkit.errors import BadToolArguments, ConfigurationError, ToolFailed
from agentkit.tools.base import OnUnknown, ToolContext, ToolSpec
from agentkit.tools.threads import DaemonThreads
from agentkit.transcript import JsonObject

P = ParamSpec("P")
R = TypeVar("R")

#: Keeps a parameter's name from shadowing an attribute of the pydantic model (`copy`, `json`, `schema`).
_PREFIX = "arg_"
#: Wrong arguments that one message names.
_PROBLEMS_NAMED = 10


class FunctionTool(Generic[P, R]):
    """A function together with what a model needs to know of it. Calling it calls the function.

    A synchronous function runs in a thread. A thread cannot be killed: when the call times out or is cancelled the
    run goes on, and the function runs to its own end in the background. Give it a time limit of its own.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        side_effect: bool = True,
        on_unknown: OnUnknown = OnUnknown.ask,
    ) -> None:
        """
        Raises:
            ConfigurationError: a parameter has no type hint, or one that has no JSON Schema.
        """
        self.function = function
        self._context_parameter, self._arguments = _read_signature(function)
        self.spec = ToolSpec(
            name=name or function.__name__,
            description=description or inspect.getdoc(function) or "",
            parameters=_schema(self._arguments),
            side_effect=side_effect,
            on_unknown=OnUnknown(on_unknown),
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    async def call(self, arguments: JsonObject, context: ToolContext, threads: DaemonThreads) -> str:
        """Check the arguments, call the function, and give its result as text (JSON unless it is a str).

        Raises:
            BadToolArguments: the message names each wrong argument.
            ToolFailed: the result cannot be written as JSON.
        """
        values = self._checked(arguments)
        if self._context_parameter is not None:
            values[self._context_parameter] = context
        function = cast(Callable[..., Any], self.function)
        if inspect.iscoroutinefunction(inspect.unwrap(function)):
            return self._as_text(await function(**values))
        result = await threads.run(lambda: function(**values))
        return self._as_text(await result if inspect.isawaitable(result) else result)

    def _checked(self, arguments: JsonObject) -> dict[str, Any]:
        try:
            checked = self._arguments.model_validate(arguments)
        except ValidationError as error:
            problems = "; ".join(_problem(each["loc"], each["msg"]) for each in error.errors()[:_PROBLEMS_NAMED])
            raise BadToolArguments(f"Wrong arguments for {self.spec.name!r}: {problems}.") from error
        return {name.removeprefix(_PREFIX): getattr(checked, name) for name in type(checked).model_fields}

    def _as_text(self, result: object) -> str:
        if isinstance(result, str):
            return result
        try:
            return to_json(result).decode()
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise ToolFailed(
                f"The tool {self.spec.name!r} returned a {type(result).__name__} that cannot be written as JSON."
            ) from error


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    side_effect: bool = True,
    on_unknown: OnUnknown = OnUnknown.ask,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    side_effect: bool = True,
    on_unknown: OnUnknown = OnUnknown.ask,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a tool of a typed function, plain (`@tool`) or with options (`@tool(side_effect=False)`).

    The name and the docstring are what the model reads. A parameter annotated `ToolContext` is given the call's
    context and is not shown to the model. Unless said otherwise a tool is taken to change something outside, and a
    human is asked when nobody can tell whether an interrupted call took effect.

    Raises:
        ConfigurationError: a parameter has no type hint, or one that has no JSON Schema.
    """

    def make(function: Callable[P, R]) -> FunctionTool[P, R]:
        return FunctionTool(
            function, name=name, description=description, side_effect=side_effect, on_unknown=on_unknown
        )

    return make(function) if function is not None else make


def _read_signature(function: Callable[..., Any]) -> tuple[str | None, type[BaseModel]]:
    """The name of the parameter that takes the context, and a model of all the others."""
    if not inspect.isroutine(function):
        raise ConfigurationError(f"a tool is made of a function, not of {function!r}")
    where = f"tool function {function.__name__!r}"
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigurationError(f"{where}: a type hint cannot be resolved: {error}") from error
    context_parameter: str | None = None
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigurationError(
                f"{where}: parameter {name!r} must be passable by name, not *args, **kwargs or positional-only"
            )
        if name not in hints:
            raise ConfigurationError(f"{where}: parameter {name!r} needs a type hint")
        if hints[name] is ToolContext:
            context_parameter = name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[_PREFIX + name] = (hints[name], default)
    return context_parameter, _arguments_model(function, where, fields)


def _arguments_model(function: Callable[..., Any], where: str, fields: dict[str, Any]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", alias_generator=lambda field: field.removeprefix(_PREFIX))
    try:
        model: type[BaseModel] = create_model(function.__name__, __config__=config, **fields)
        model.model_json_schema()
    except PydanticUserError as error:
        problem = str(error).splitlines()[0]
        raise ConfigurationError(f"{where}: a type hint has no JSON Schema: {problem}") from error
    return model


def _schema(arguments: type[BaseModel]) -> JsonObject:
    schema = arguments.model_json_schema()
    schema.pop("title", None)
    schema.setdefault("properties", {})
    for prop in schema["properties"].values():
        prop.pop("title", None)
    return schema


def _problem(location: tuple[int | str, ...], message: str) -> str:
    path = ".".join(str(part) for part in location)
    return f"argument {path!r}: {message}" if path else message
