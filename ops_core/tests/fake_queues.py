"""What queues have and want, in memory, for tests of services and doors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ops_core.domain.task import Task, TaskStatus
from ops_core.ports import QueueLoad, WorkerInfo
from ops_core.tests.fakes import FakeStore


class FakeQueues:
    """A QueueStore over the tasks of a FakeStore, whose clock it shares. All `workers` are heard of."""

    def __init__(self, store: FakeStore, *, bound: int = 10_000) -> None:
        self.store = store
        self.workers: list[WorkerInfo] = []
        self.bound = bound

    async def list_queue_names(self, namespace: str, *, silent_seconds: float) -> Collection[str]:
        await self.store.list_agents(namespace)
        queued = {task.queue for task in self.store.tasks.values() if task.status is TaskStatus.queued}
        running = {task.queue for task in self._tasks(namespace, TaskStatus.running)}
        return queued | running | {name for worker in self._serving() for name in worker.queues}

    async def load_queues(self, namespace: str, names: Sequence[str], *, silent_seconds: float) -> Sequence[QueueLoad]:
        await self.store.list_agents(namespace)
        return [self._load(namespace, name) for name in names]

    def _load(self, namespace: str, name: str) -> QueueLoad:
        ready = [task for task in self._tasks(namespace, TaskStatus.queued) if task.queue == name and not task.blocked]
        running = [task for task in self._tasks(namespace, TaskStatus.running) if task.queue == name]
        serving = [worker for worker in self._serving() if name in worker.queues]
        ages = [(self.store.now - task.created_at).total_seconds() for task in ready]
        return QueueLoad(
            name=name,
            ready=min(len(ready), self.bound),
            running=len(running),
            workers=len(serving),
            slots=sum(worker.slots for worker in serving),
            free=sum(max(0, worker.slots - worker.busy) for worker in serving),
            oldest_ready_seconds=max(ages, default=None),
            wanted_slots_capped=len(ready) >= self.bound,
        )

    def _tasks(self, namespace: str, status: TaskStatus) -> list[Task]:
        return [task for task in self.store.tasks.values() if (task.namespace, task.status) == (namespace, status)]

    def _serving(self) -> list[WorkerInfo]:
        return [worker for worker in self.workers if not worker.draining]


def worker_serving(*queues: str, slots: int = 10, busy: int = 0, draining: bool = False) -> WorkerInfo:
    """What a worker says of itself."""
    return WorkerInfo(
        worker_id="w", hostname="here", pid=1, version="0", queues=queues, slots=slots, busy=busy, draining=draining
    )
