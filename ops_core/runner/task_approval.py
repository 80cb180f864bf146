"""The word of a person that an agent's policy wants before one of its tasks runs at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentkit.errors import WaitAnswerInvalid
from agentkit.journal import Journal, fingerprint
from agentkit.rulings import Approved, Edited, Expired, Rejected, Responded, ruling_in
from agentkit.waits import RunSuspended, Wait, WaitKind
from ops_core.domain.agent import AgentDefinition
from ops_core.domain.approval import ApprovalReason, Decision
from ops_core.domain.task import Task, TaskError
from ops_core.runner.approval_policy import first_asking, message_of, shown, terms_of
from ops_core.services.input_schema import input_schema_of

#: Before the first step, which is 1.
KEY: Final = "0/task/approval"


def permitted(task: Task, definition: AgentDefinition, journal: Journal) -> Task | TaskError:
    """The task as it may run, with the input that a person chose if one did; or why it may not.

    Raises:
        RunSuspended: a person must decide first.
        StepMismatch, WaitAnswerInvalid: the decision is none on this task.
    """
    rules = [rule for rule in definition.approvals if rule.tool is None]
    asking = first_asking(rules, "input", task.input)
    if asking is None:
        return task
    default = f"Run a task of the agent `{definition.name}` with {shown(task.input)}."
    terms = terms_of(asking.rule)
    request = {
        **terms,
        "reason": ApprovalReason.task.value,
        "arguments": task.input,
        "arguments_schema": input_schema_of(definition),
        "message": message_of(asking, task.input, default=default),
        # It has not run, so there is no result to give.
        "allowed": [decision for decision in terms["allowed"] if decision != Decision.respond],
        "fingerprint": fingerprint("task", task.input),
    }
    wait = Wait(key=KEY, kind=WaitKind.approval, request=request)
    answer = journal.answer(KEY)
    if answer is None:
        raise RunSuspended([wait])
    match ruling_in(wait, answer):
        case Approved():
            return task
        case Edited(arguments):
            return replace(task, input=arguments)
        case Expired():
            return TaskError("approval_expired", "nobody approved the task in time; retry it from scratch to ask again")
        case Rejected(reason):
            # Such a task has ended; a person has retried it, and kept the journal with the rejection in it.
            why = f"the task was rejected: {reason or 'no reason was given'}; retry it from scratch to ask again"
            return TaskError("approval_rejected", why)
        case Responded():
            raise WaitAnswerInvalid(f"{KEY} cannot be answered with a response: the task has not run")
