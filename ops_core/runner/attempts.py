"""What becomes of a task whose attempt has failed: tried again after a pause, or failed for good."""

from __future__ import annotations

import random

from ops_core.domain.agent import RetryRule
from ops_core.domain.outcome import Failed, Retry
from ops_core.domain.retry import RetryPolicy
from ops_core.domain.task import JsonObject, Task, TaskError, TaskUsage


def after_failure(
    task: Task,
    error: TaskError,
    usage: TaskUsage,
    *,
    policy: RetryPolicy,
    rng: random.Random,
    retry_after_seconds: float | None = None,
) -> Failed | Retry:
    """Tried again while attempts are left and it can help; never sooner than the provider asked."""
    if not error.retryable or task.attempt >= task.max_attempts:
        return Failed(error=error, usage=usage)
    delay = policy.delay_seconds(task.attempt, retry_after_seconds=retry_after_seconds, rng=rng)
    return Retry(error=error, delay_seconds=delay, usage=usage)


def policy_of(rule: RetryRule | None, default: RetryPolicy) -> RetryPolicy:
    """The agent's pauses, and ours for what it leaves open."""
    if rule is None:
        return default
    base = rule.base_seconds or min(default.base_seconds, rule.max_seconds or default.base_seconds)
    return RetryPolicy(base_seconds=base, max_seconds=rule.max_seconds or max(default.max_seconds, base))


def attempt_crashed(task: Task, evidence: JsonObject) -> TaskError:
    """It ran alone, and its process died of it: tried again while attempts are left, then quarantined."""
    end = f"signal {evidence['signal']}" if evidence.get("signal") else f"exit status {evidence.get('status')}"
    if evidence.get("stalled"):
        end = "an event loop that stood still"
    if task.attempt >= task.max_attempts:
        tries = f"{task.attempt} of {task.max_attempts} attempts are used up"
        return TaskError("poison", f"alone in a process, the task ended it by {end}; {tries}", evidence=evidence)
    message = f"alone in a process, the task ended it by {end}"
    return TaskError("crashed", message, retryable=True, evidence=evidence)


def attempt_timed_out(task: Task) -> TaskError:
    """This claim ran as long as one may; another may get through, since finished steps are replayed."""
    return TaskError("attempt_timeout", f"the attempt did not end within its {task.attempt_timeout_seconds:g} s", True)
