"""Whether a caller may do what it wants to, said once for all services."""

from __future__ import annotations

from ops_core.domain.caller import PERMISSIONS, Caller, Operation, Role
from ops_core.errors import PermissionDenied


def require(caller: Caller, operation: Operation) -> None:
    """Raises:
    PermissionDenied: names the roles that may.
    """
    if not caller.may(operation):
        raise PermissionDenied(
            f"{caller.subject} may not {operation}: that takes the role {roles_for(operation)}, "
            f"and the key has {_or(sorted(caller.roles))}."
        )


def roles_for(operation: Operation) -> str:
    """The roles that may, in words."""
    return _or([role for role in Role if role is Role.admin or role in PERMISSIONS[operation]])


def _or(roles: list[Role]) -> str:
    *first, last = map(str, roles) if roles else ("none",)
    return f"{', '.join(first)} or {last}" if first else last
