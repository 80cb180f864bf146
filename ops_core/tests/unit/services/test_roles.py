"""What each role may do with tasks, agents and schedules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from ops_core.domain.caller import PERMISSIONS, Caller, Operation, Role
from ops_core.domain.task import RetryFrom
from ops_core.errors import OpsCoreError, PermissionDenied
from ops_core.services.agents import AgentService
from ops_core.services.forks import ForkRequest
from ops_core.services.schedules import ScheduleService
from ops_core.services.submission import Submission
from ops_core.services.tasks import TaskFilter, TaskService
from ops_core.tests.fake_schedules import FakeSchedules
from ops_core.tests.fakes import FakeStore

SUBMISSION = Submission(agent="assistant", goal="x")
CALLS: dict[str, tuple[Operation, Callable[[TaskService, Caller], Awaitable[object]]]] = {
    "submit": (Operation.submit, lambda tasks, who: tasks.submit(who, SUBMISSION)),
    "submit_batch": (Operation.submit, lambda tasks, who: tasks.submit_batch(who, [SUBMISSION])),
    "get": (Operation.look, lambda tasks, who: tasks.get(who, uuid4())),
    "list": (Operation.look, lambda tasks, who: tasks.list(who, TaskFilter(), limit=1, cursor=None)),
    "wait": (Operation.look, lambda tasks, who: tasks.wait(who, uuid4(), timeout_seconds=0)),
    "events": (Operation.look, lambda tasks, who: tasks.events(who, uuid4(), after_seq=0, limit=1)),
    "watch": (Operation.look, lambda tasks, who: anext(tasks.watch(who, uuid4(), after_seq=0))),
    "children": (Operation.look, lambda tasks, who: tasks.children(who, uuid4(), limit=1, cursor=None)),
    "ancestors": (Operation.look, lambda tasks, who: tasks.ancestors(who, uuid4())),
    "cancel": (Operation.cancel, lambda tasks, who: tasks.cancel(who, uuid4())),
    "retry": (Operation.retry, lambda tasks, who: tasks.retry(who, uuid4(), retry_from=RetryFrom.journal)),
    "fork": (Operation.fork, lambda tasks, who: tasks.fork(who, uuid4(), ForkRequest(before_step=1))),
}


async def is_denied(call: Awaitable[object]) -> bool:
    try:
        await call
    except PermissionDenied:
        return True
    except OpsCoreError:
        pass
    return False


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("role", Role)
async def test_a_role_may_what_the_table_says(service: TaskService, name: str, role: Role) -> None:
    operation, call = CALLS[name]
    denied = await is_denied(call(service, Caller(subject="x", roles=frozenset({role}))))
    assert denied != (role is Role.admin or role in PERMISSIONS[operation])


async def test_every_public_method_is_in_this_list() -> None:
    methods = {name for name in vars(TaskService) if not name.startswith("_")}
    assert methods - {"check"} == set(CALLS)


async def test_the_denial_names_the_roles_that_may(service: TaskService) -> None:
    with pytest.raises(PermissionDenied, match=r"eve may not cancel: that takes the role admin or operator, .* viewer"):
        await service.cancel(Caller(subject="eve", roles=frozenset({Role.viewer})), uuid4())


async def test_a_caller_without_a_role_sees_no_agents(store: FakeStore) -> None:
    nobody, agents = Caller(subject="x", roles=frozenset()), AgentService(agents=store)
    assert await is_denied(agents.list(nobody))
    assert await is_denied(agents.get(nobody, "assistant"))


async def test_schedules_are_an_operators(store: FakeStore, service: TaskService) -> None:
    schedules = ScheduleService(schedules=FakeSchedules(store), tasks=service)
    viewer = Caller(subject="x", roles=frozenset({Role.viewer}))
    assert await is_denied(schedules.pause(viewer, "a"))
    assert not await is_denied(schedules.list(viewer))


def test_an_agents_key_may_everything_its_roles_say_but_decide() -> None:
    own = Caller(roles=frozenset({Role.admin}), agent="refund-desk")
    assert [one for one in Operation if not own.may(one)] == [Operation.decide]
