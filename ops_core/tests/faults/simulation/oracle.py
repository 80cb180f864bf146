"""What must be true of a world when everything has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from ops_core.domain.approval import ApprovalStatus, Decision
from ops_core.domain.event import Event, EventType
from ops_core.domain.task import FINAL, Task, TaskStatus
from ops_core.ports import ApprovalQuery, TaskQuery
from ops_core.tests.faults.simulation.world import LEASE_SECONDS, World

#: Rounds of letting everybody do what is left, in each of which time passes; after so many a task is stuck.
_ROUNDS_TO_REST = 300
_FINAL_EVENTS = {f"task.{status}" for status in FINAL}


def come_to_rest(world: World) -> None:
    """No more faults: deliver, step, decide, signal, keep house, until every task has ended or nothing helps."""
    for node in [world.api, world.keeper, *world.workers]:
        node.life.fault = None
    world.rate_limits_left = 0
    for round in range(_ROUNDS_TO_REST):
        tasks = _tasks(world)
        if all(task.status.is_final for task in tasks):
            return
        while world.broker:
            world.deliver(0, round)
        for _ in range(20):
            # Each of them, not only the first that has something to open.
            opened = [run.open(0) for run in world.live_runs()]
            if not any(opened):
                break
            world.advance(0)
        for approval in world.pending_approvals():
            asks = Decision.respond if Decision.approve not in approval.request.allowed else Decision.approve
            world.decide(approval, asks)
        for task in tasks:
            if task.status is TaskStatus.waiting:
                world.signal(task.id, "go")
        for worker in range(len(world.workers)):
            world.heartbeat(worker)
        world.advance(0.5 if world.live_runs() else LEASE_SECONDS / 3)
        world.housekeep()


def broken_promises(world: World) -> list[str]:
    """What the product has promised and not kept; empty when all is well."""
    tasks = {task.id: task for task in _tasks(world)}
    found = [f"lost: {id}" for id in world.accepted.keys() - tasks.keys()]
    found += [f"stuck: {task.id} is {task.status}" for task in tasks.values() if not task.status.is_final]
    found += [f"stale write: {what}" for what in world.stale_writes]
    found += [f"executed again: {what}" for what in world.executed_again]
    for task in tasks.values():
        found += _of_log(task, _events(world, task.id))
        if task.pending_children:
            found.append(f"{task.id} has ended and still counts {task.pending_children} children")
    return found + _of_effects(world)


def _of_log(task: Task, events: Sequence[Event]) -> list[str]:
    found: list[str] = []
    if [event.seq for event in events] != list(range(1, len(events) + 1)) or len(events) != task.seq:
        found.append(f"{task.id} has a gap in its log")
    epochs = [event.payload["epoch"] for event in events if event.type is EventType.task_started]
    if sorted(set(epochs)) != epochs:
        found.append(f"{task.id} was started with epochs {epochs}")
    steps = Counter((e.round, e.step_key, e.phase) for e in events if e.step_key is not None)
    found += [f"{task.id} has {step} {count} times" for step, count in steps.items() if count > 1]
    ends = Counter(event.round for event in events if event.type in _FINAL_EVENTS)
    found += [f"{task.id} ended {count} times in round {round}" for round, count in ends.items() if count > 1]
    if task.status.is_final and (not events or events[-1].type not in _FINAL_EVENTS):
        # What a task is told after its end (a child that stops) may follow; nothing of its own does.
        later = [event.type for event in events if event.seq > max(e.seq for e in events if e.type in _FINAL_EVENTS)]
        if any(kind is not EventType.child_finished for kind in later):
            found.append(f"{task.id} went on after its end: {later}")
    return found


def _of_effects(world: World) -> list[str]:
    yes = Counter[str]()
    query = ApprovalQuery(namespace="default", statuses=frozenset({ApprovalStatus.approved}), limit=1000)
    for approval in world.do(world.api.store.list_approvals(query)):
        if approval.request.reason == "outcome_unknown":
            yes[f"{approval.task_id}:{approval.step_key.rsplit('/outcome', 1)[0]}"] += 1
    found: list[str] = []
    for (name, key), sent in world.effects.sent.items():
        task_id, _, rest = key.partition("/")
        allowed = 1 + yes[f"{task_id}:{rest.partition(':')[2]}"]
        if name == "pay_fail" and sent > 1:
            found.append(f"{name} was sent {sent} times under {key}")
        if name == "pay_ask" and sent > allowed:
            found.append(f"{name} was sent {sent} times under {key}, with {allowed - 1} times yes")
    return found


def _tasks(world: World) -> list[Task]:
    return list(world.do(world.api.store.list_tasks(TaskQuery(namespace="default", limit=1000))))


def _events(world: World, id: UUID) -> Sequence[Event]:
    found: Sequence[Event] = world.do(world.api.store.list_events(id, after_seq=0, limit=1000))
    return found
