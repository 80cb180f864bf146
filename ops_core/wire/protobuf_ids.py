"""Ids in protobuf messages, which are text there."""

from __future__ import annotations

from uuid import UUID

from ops_core.errors import FieldProblem, InvalidInput


def uuid_from(text: str, *, of: str, pointer: str = "/id") -> UUID:
    """The id. `of` says whose it is to be, such as `a task`.

    Raises:
        InvalidInput: it is no UUID in the usual form.
    """
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        detail = f"must be {of}'s id, such as 01890a5d-ac96-774b-bcce-b302099a8057"
        raise InvalidInput(f"`{pointer[1:]}` {detail}.", problems=[FieldProblem(pointer, detail)])
    return found
