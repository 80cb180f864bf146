"""Who calls a service, and what each role may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: The namespace of an installation that has not made others.
DEFAULT_NAMESPACE = "default"


class Role(StrEnum):
    """What a caller is here for."""

    #: Everything, and counts as a member of every group.
    admin = "admin"
    #: Runs the place: everything that is done with tasks, schedules and approvals.
    operator = "operator"
    #: Looks, and decides what is asked of its groups.
    approver = "approver"
    #: Submits tasks, looks at them, and sends them signals.
    submitter = "submitter"
    #: Looks.
    viewer = "viewer"


class Operation(StrEnum):
    """What a caller can want to do."""

    #: Read tasks, events, agents, approvals, signals, schedules and queues.
    look = "look"
    #: Add tasks.
    submit = "submit"
    #: Send a signal to a task.
    signal = "signal"
    cancel = "cancel"
    retry = "retry"
    fork = "fork"
    #: Add, change, pause, trigger and delete schedules.
    schedule = "schedule"
    #: Decide about an approval; whose groups are asked is another matter.
    decide = "decide"


#: Who may do what, besides admins.
PERMISSIONS: Mapping[Operation, frozenset[Role]] = {
    Operation.look: frozenset(Role),
    Operation.submit: frozenset({Role.operator, Role.submitter}),
    Operation.signal: frozenset({Role.operator, Role.submitter}),
    Operation.cancel: frozenset({Role.operator}),
    Operation.retry: frozenset({Role.operator}),
    Operation.fork: frozenset({Role.operator}),
    Operation.schedule: frozenset({Role.operator}),
    Operation.decide: frozenset({Role.operator, Role.approver}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal of one request, made by a door after it has authenticated it."""

    namespace: str = DEFAULT_NAMESPACE
    subject: str = "anonymous"
    roles: frozenset[Role] = frozenset({Role.admin})
    #: Groups whose approvals it may decide.
    groups: frozenset[str] = frozenset()
    #: The agent whose key this is: it never decides, whatever its roles. None for people and services.
    agent: str | None = None

    @property
    def is_admin(self) -> bool:
        return Role.admin in self.roles

    def may(self, operation: Operation) -> bool:
        """Whether its roles allow the operation at all."""
        if operation is Operation.decide and self.agent is not None:
            return False
        return self.is_admin or not self.roles.isdisjoint(PERMISSIONS[operation])

    def is_in_one_of(self, groups: tuple[str, ...]) -> bool:
        """Whether it counts as a member of one of the groups; no groups at all means everybody."""
        return not groups or self.is_admin or not self.groups.isdisjoint(groups)
