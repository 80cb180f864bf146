"""The services behind the doors and the housekeeper."""

from __future__ import annotations

from collections.abc import Callable

from ops_core.bootstrap.checks import model_check_of, task_limits
from ops_core.bootstrap.core import Core
from ops_core.domain.agent import AgentDefinition
from ops_core.ports import Retention
from ops_core.services.approvals import ApprovalService
from ops_core.services.firing import ScheduleFiring
from ops_core.services.queues import QueueService
from ops_core.services.retention import Pruner
from ops_core.services.schedules import ScheduleService
from ops_core.services.signals import SignalService
from ops_core.services.tasks import TaskService
from ops_core.storage.archive import FileArchive


def task_service(core: Core, *, model_check: Callable[[AgentDefinition], str | None] | None = None) -> TaskService:
    return TaskService(
        tasks=core.store,
        agents=core.store,
        relay=core.relay,
        nudges=core.nudges,
        limits=task_limits(core.settings),
        model_check=model_check or model_check_of(core.settings),
    )


def approval_service(core: Core) -> ApprovalService:
    limits = task_limits(core.settings)
    return ApprovalService(approvals=core.store, relay=core.relay, nudges=core.nudges, limits=limits)


def signal_service(core: Core) -> SignalService:
    limits = task_limits(core.settings)
    return SignalService(signals=core.store, tasks=core.store, relay=core.relay, nudges=core.nudges, limits=limits)


def schedule_service(core: Core) -> ScheduleService:
    return ScheduleService(schedules=core.store, tasks=task_service(core))


def queue_service(core: Core) -> QueueService:
    # Who is silent for as long as a lease has lost its tasks.
    return QueueService(queues=core.store, silent_seconds=core.settings.lease_seconds)


def schedule_firing(core: Core) -> ScheduleFiring:
    # Whoever keeps house needs no model's key: one that is missing was told when the schedule was made, and is the
    # worker's to miss.
    return ScheduleFiring(schedules=core.store, tasks=task_service(core, model_check=lambda _: None))


def pruner(core: Core) -> Pruner:
    settings = core.settings
    policy = Retention(
        completed_seconds=_seconds(settings.keep_completed_days), unhappy_seconds=_seconds(settings.keep_unhappy_days)
    )
    archive = FileArchive(settings.archive_dir) if settings.archive_dir is not None else None
    return Pruner(core.store, policy=policy, archive=archive)


def _seconds(days: float | None) -> float | None:
    return days * 86_400 if days is not None else None
