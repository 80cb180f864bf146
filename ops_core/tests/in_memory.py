"""Every service over ports in memory, for tests of the doors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypedDict

from ops_core.domain.agent import AgentDefinition
from ops_core.services.agents import AgentService
from ops_core.services.approvals import ApprovalService
from ops_core.services.limits import TaskLimits
from ops_core.services.queues import QueueService
from ops_core.services.schedules import ScheduleService
from ops_core.services.signals import SignalService
from ops_core.services.tasks import TaskService
from ops_core.tests.fake_approvals import FakeApprovals, FakeSignals
from ops_core.tests.fake_queues import FakeQueues
from ops_core.tests.fake_schedules import FakeSchedules
from ops_core.tests.fakes import FakeNudges, FakeRelay, FakeStore


class Services(TypedDict):
    """What a door opens to, by the names that doors have for it."""

    tasks: TaskService
    agents: AgentService
    approvals: ApprovalService
    signals: SignalService
    schedules: ScheduleService
    queues: QueueService


def services_over(
    store: FakeStore,
    *,
    limits: TaskLimits,
    relay: FakeRelay | None = None,
    approvals: FakeApprovals | None = None,
    queues: FakeQueues | None = None,
    model_check: Callable[[AgentDefinition], str | None] = lambda _: None,
    clock: Callable[[], datetime] | None = None,
) -> Services:
    """The services, all over this one store."""
    relay, nudges = relay or FakeRelay(), store.nudges or FakeNudges()
    tasks = TaskService(
        tasks=store,
        agents=store,
        relay=relay,
        nudges=nudges,
        limits=limits,
        model_check=model_check,
        **({} if clock is None else {"clock": clock}),
    )
    return Services(
        tasks=tasks,
        agents=AgentService(agents=store),
        approvals=ApprovalService(
            approvals=approvals or FakeApprovals(store), relay=relay, nudges=nudges, limits=limits
        ),
        signals=SignalService(signals=FakeSignals(store), tasks=store, relay=relay, nudges=nudges, limits=limits),
        schedules=ScheduleService(schedules=FakeSchedules(store), tasks=tasks),
        queues=QueueService(queues=queues or FakeQueues(store), silent_seconds=30.0),
    )
