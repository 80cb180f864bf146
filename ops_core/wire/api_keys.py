"""The callers an operator has made keys for: a JSON list in, hashes and callers out."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictStr, TypeAdapter, ValidationError

from ops_core.domain.caller import Caller, Operation, Role
from ops_core.errors import ConfigurationInvalid, FieldProblem

#: More callers than this want a better home than a setting.
_MAX_KEYS = 300
_Name = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}$")]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Whose key it is. The key itself is not kept: only the hash that knows it again."""

    caller: Caller
    sha256: bytes = field(repr=False)


class _Entry(BaseModel):
    """One entry of the list."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    # Visible ASCII: what every HTTP client can put into a header.
    key: Annotated[StrictStr, Field(pattern=r"^[!-~]{1,512}$")]
    subject: _Name
    roles: Annotated[list[Role], Field(min_length=1)]
    groups: list[_Name] = []
    agent: _Name | None = None


def single_key(key: str) -> ApiKey:
    """The one key of an installation that tells no callers apart."""
    return ApiKey(Caller(subject="api-key"), _sha256(key))


def read_api_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys in a JSON list such as `[{"key": "…", "subject": "ada", "roles": ["approver"], "groups": ["finance"]}]`.

    Raises:
        ConfigurationInvalid: names the entry at fault, and never a key.
    """
    entries = _entries(text)
    keys: dict[bytes, int] = {}
    for index, entry in enumerate(entries):
        first = keys.setdefault(_sha256(entry.key), index)
        if first != index:
            raise _invalid([FieldProblem(f"/{index}/key", f"is the same as that of entry {first}")])
    return tuple(_api_key(entry) for entry in entries)


def key_that_may(text: str, operation: Operation) -> str | None:
    """The first key of the list whose caller may do this: for what a server asks itself.

    Raises:
        ConfigurationInvalid: as `read_api_keys`.
    """
    return next((entry.key for entry in _entries(text) if _api_key(entry).caller.may(operation)), None)


def find_caller(keys: Sequence[ApiKey], presented: str) -> Caller | None:
    """Whose key this is; all are compared, each in constant time, so that the time tells nothing."""
    # Headers are bytes, which both doors read as Latin-1.
    given, found = hashlib.sha256(presented.encode("latin-1", "replace")).digest(), None
    for one in keys:
        if hmac.compare_digest(one.sha256, given):
            found = one.caller
    return found


def _entries(text: str) -> list[_Entry]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise _invalid(
            [FieldProblem("", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}")]
        ) from None
    except (ValueError, RecursionError):
        raise _invalid([FieldProblem("", "not JSON that can be read")]) from None
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_KEYS:
        raise _invalid([FieldProblem("", f"must be a JSON list of 1 to {_MAX_KEYS} entries")])
    try:
        return TypeAdapter(list[_Entry]).validate_python(value)
    except ValidationError as error:
        # Without what pydantic would quote of the input: it may be a key.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise _invalid(list(_problems([(one["loc"], one["type"], one["msg"]) for one in found]))) from None


def _problems(found: list[tuple[tuple[int | str, ...], str, str]]) -> Iterator[FieldProblem]:
    for loc, kind, message in found:
        # A key given as a name would be in the path of an unknown field.
        shown = loc if kind != "extra_forbidden" else loc[:1]
        known = ", ".join(_Entry.model_fields)
        detail = f"has a field that is not one of {known}" if kind == "extra_forbidden" else message
        yield FieldProblem("".join(f"/{part}" for part in shown), detail)


def _api_key(entry: _Entry) -> ApiKey:
    caller = Caller(
        subject=entry.subject, roles=frozenset(entry.roles), groups=frozenset(entry.groups), agent=entry.agent
    )
    return ApiKey(caller, _sha256(entry.key))


def _sha256(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _invalid(problems: Sequence[FieldProblem]) -> ConfigurationInvalid:
    shown = "; ".join(f"{_place(one.pointer)} {one.detail}" for one in problems[:5])
    return ConfigurationInvalid(f"the list of API keys is not valid: {shown}", problems=problems)


def _place(pointer: str) -> str:
    index, _, field_name = pointer[1:].partition("/")
    return f"entry {index}" + (f", `{field_name.replace('/', '.')}`:" if field_name else "") if index else "it is"
