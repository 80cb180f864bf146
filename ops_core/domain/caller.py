"""Who calls a service: namespace, subject, roles."""

from __future__ import annotations

from dataclasses import dataclass

#: The namespace of an installation that has not made others.
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal of one request, made by a door after it has authenticated it."""

    namespace: str = DEFAULT_NAMESPACE
    subject: str = "anonymous"
    roles: frozenset[str] = frozenset({"admin"})
    #: Groups whose approvals it may decide.
    groups: frozenset[str] = frozenset()
    #: The agent whose key this is: it may submit and look, and never decides. None for people and services.
    agent: str | None = None
