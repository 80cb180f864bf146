"""The agent: a loop that asks a model, makes the tool calls it decides on, and ends with an answer or a limit."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from agentkit.attachments import Attachment
from agentkit.decisions import Answer, CallTools, Correct, Decision, Plan
from agentkit.errors import ContextTooLong
from agentkit.hooks import NoHooks, RunHooks
from agentkit.journal import Journal, MemoryJournal
from agentkit.limits import LimitName, Limits
from agentkit.llm.base import LlmResponse, Usage
from agentkit.memory.base import BaseMemory
from agentkit.memory.short_term import ShortTermMemory
from agentkit.memory.summarizing import NOTHING_SAID, summary_prompt
from agentkit.model_calls import Answered, ModelCaller
from agentkit.output import OutputFormatError, output_format
from agentkit.planners.base import BasePlanner, Prompt
from agentkit.planners.unusable import correction_for, too_many_calls, unwritable
from agentkit.repeats import Repeats
from agentkit.report import Finished, LimitReached, Outcome, RunReport
from agentkit.security.allow_all import AllowAll
from agentkit.security.base import BaseSecurityManager
from agentkit.security.redaction import Redactor, environment_redactor
from agentkit.tool_calls import ToolCaller
from agentkit.tools.base import BaseToolManager, ToolSpec
from agentkit.tools.combined import CombinedTools
from agentkit.tools.hand_off import PREFIX, HandOffs
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import (
    AssistantMessage,
    JsonObject,
    Message,
    PlanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)


class Agent:
    """A planner with tools, memory and limits. Safe to run many times, also at once, unless it is given a memory."""

    def __init__(
        self,
        *,
        planner: BasePlanner,
        memory: BaseMemory | None = None,
        tools: BaseToolManager | None = None,
        security: BaseSecurityManager | None = None,
        limits: Limits | None = None,
        journal: Journal | None = None,
        instructions: str = "",
        output: JsonObject | type[Any] | None = None,
        definition: str = "",
        hooks: RunHooks | None = None,
        hand_offs: Mapping[str, Agent] | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        """
        Args:
            memory: Belongs to one run, and a resume wants a fresh one. None gives each run a `ShortTermMemory`.
            journal: What makes a run durable. None keeps each run's steps in memory only.
            output: What the final answer must be: a JSON Schema that it fits, or a type that Pydantic knows (a model,
                a dataclass, a TypedDict, `list[int]`). An answer that is not goes back to the model with what is wrong,
                as often as `limits.corrections` allows.
            hand_offs: Agents that may take over, by the name their `hand_off.<name>` tool gets. Whoever has taken over
                answers with its own planner, tools and policy; limits, journal, memory and output stay the run's.
            redactor: Takes secrets out of what tools answer, before the model or the journal sees it. None
                knows those in the environment, and keys by their shape.
            definition: Names the version of this agent's definition; a run journaled under another one is not resumed.

        Raises:
            ConfigurationError: `output` is neither a JSON Schema nor a type that has one.
        """
        self.planner = planner
        self.memory = memory
        self.hand_offs = dict(hand_offs or {})
        own: BaseToolManager = tools if tools is not None else ToolRegistry()
        self.tools: BaseToolManager = CombinedTools(own, HandOffs(self.hand_offs)) if self.hand_offs else own
        self.security: BaseSecurityManager = security or AllowAll()
        self.redactor = redactor or environment_redactor()
        self.limits = limits or Limits()
        self.journal = journal
        self.instructions = instructions
        self.output_format = output_format(output) if output is not None else None
        self.definition = definition
        self.hooks: RunHooks = hooks or NoHooks()

    async def run(self, goal: str, *, attachments: Sequence[Attachment] = (), run_id: str | None = None) -> RunReport:
        """Work on the goal until there is an answer or a limit is reached.

        A run with a journal is resumed by calling this again with the same goal, run id and journal: finished steps
        are replayed from the journal, not executed again. Cancelling the caller's task cancels the call in flight.

        Args:
            attachments: Images and files that belong to the goal; the same for every resume, as the goal.
            run_id: The same for every resume of a run; idempotency keys are made from it.

        Raises:
            LlmError: the model could not be asked; the subclass says whether a resume can help.
            StepMismatch: the journal is of another agent definition or another course of events.
            RunSuspended: it waits for something outside; not a failure. Run it again once there is an answer.
            WaitAnswerInvalid: an answer is none that its wait can take.
            OutcomeUnknown: a side effect was begun before, its end never recorded, and its tool forbids to repeat it.
            RunRevoked: the journal says that this run may not act any more.
        """
        run_id = run_id or uuid4().hex
        self.hooks.run_started(run_id)
        try:
            report = await _Run(self, run_id).drive(goal, tuple(attachments))
        except BaseException as error:
            self.hooks.run_ended(None, error)
            raise
        self.hooks.run_ended(report, None)
        return report


class _Run:
    """One execution of the loop."""

    def __init__(self, agent: Agent, run_id: str) -> None:
        self._agent = agent
        self._limits = agent.limits
        self._memory: BaseMemory = agent.memory if agent.memory is not None else ShortTermMemory()
        self._journal: Journal = agent.journal if agent.journal is not None else MemoryJournal()
        self._run_id = run_id
        self._specs: Mapping[str, ToolSpec] = {}
        self._take_over(agent)
        self._transcript: list[Message] = []
        self._usage = Usage()
        self._steps = 0
        self._tool_calls = 0
        self._seconds = 0.0
        self._corrections_in_a_row = 0
        self._repeats = Repeats()
        self._plan: tuple[str, ...] = ()

    async def drive(self, goal: str, attachments: tuple[Attachment, ...]) -> RunReport:
        await self._remember(*self._opening(goal, attachments))
        for step in itertools.count(1):
            if reached := self._limit_reached():
                return self._report(reached)
            if self._planner.uses_tools:
                self._specs = await self._offered_tools()
            answered = await self._ask_to_go_on(step)
            message = answered.response.message
            match answered.decision:
                case CallTools(calls):
                    await self._remember(replace(message, tool_calls=calls))
                    await self._call_tools(step, calls)
                case Correct(observation):
                    await self._correct(message, observation)
                case Plan(steps):
                    await self._work_by(steps, message)
                case Answer(text):
                    await self._remember(message)
                    return self._report(self._finished(text))
        raise AssertionError("unreachable: the count never ends")

    def _take_over(self, agent: Agent) -> None:
        """From here on this agent's model is asked and its tools are called."""
        self._acting = agent
        self._planner = agent.planner
        self._specs = {}
        self._model = ModelCaller(
            llm=agent.planner.llm,
            definition=agent.definition,
            output_schema=_held_to(self._agent, agent.planner),
            timeout_seconds=self._limits.llm_seconds,
            journal=self._journal,
            hooks=self._agent.hooks,
        )
        self._caller = ToolCaller(
            run_id=self._run_id,
            tools=agent.tools,
            security=agent.security,
            limits=self._limits,
            journal=self._journal,
            hooks=self._agent.hooks,
            redactor=self._agent.redactor,
        )

    def _opening(self, goal: str, attachments: tuple[Attachment, ...]) -> list[Message]:
        form = self._agent.output_format
        standing = [self._agent.instructions, form.instructions() if form else ""]
        system = "\n\n".join(text for text in standing if text)
        return [*([SystemMessage(system)] if system else []), UserMessage(goal, attachments)]

    async def _remember(self, *messages: Message) -> None:
        self._transcript.extend(messages)
        await self._memory.add(*messages)

    def _limit_reached(self) -> LimitReached | None:
        """Looked at between steps, so a run may go over by the step it is in."""
        limits, tokens = self._limits, self._usage.total_tokens
        if self._corrections_in_a_row > limits.corrections:
            return LimitReached(
                LimitName.corrections,
                f"{self._corrections_in_a_row} answers of the model in a row could not be used",
            )
        if self._repeats.in_a_row >= limits.repeats:
            return LimitReached(
                LimitName.repeats,
                f"{self._repeats.tools} was called {self._repeats.in_a_row} times in a row with the same arguments and "
                "the same result",
            )
        if self._steps >= limits.steps:
            return LimitReached(LimitName.steps, f"no answer after {self._steps} steps")
        if tokens >= limits.tokens:
            return LimitReached(LimitName.tokens, f"{tokens} of {limits.tokens} tokens used")
        if self._seconds >= limits.seconds:
            return LimitReached(LimitName.seconds, f"{self._seconds:.1f} s of {limits.seconds:g} s of active time used")
        return None

    async def _offered_tools(self) -> Mapping[str, ToolSpec]:
        """Asked for before each step, since a server that was down may be back. A slow one keeps what was known."""
        try:
            async with asyncio.timeout(self._limits.tool_seconds):
                return {spec.name: spec for spec in await self._acting.tools.specs()}
        except TimeoutError:
            return self._specs

    async def _ask_to_go_on(self, step: int) -> Answered:
        """What to do next. A conversation that has become too long is summed up first, in a step of its own."""
        summary = f"{step}/summary"
        was_urgent = not self._memory.excess() and self._journal.recall(summary) is not None
        condensed = await self._condense(summary, urgent=was_urgent)
        try:
            return await self._ask(f"{step}/llm", self._prompt, self._decide)
        except ContextTooLong:
            if condensed or not await self._condense(summary, urgent=True):
                raise
        return await self._ask(f"{step}/llm", self._prompt, self._decide)

    async def _condense(self, key: str, *, urgent: bool) -> bool:
        """Whether there was something to sum up."""
        excess = self._memory.excess(urgent=urgent)
        if not excess:
            return False

        async def prompt() -> Prompt:
            return summary_prompt(excess)

        answered = await self._ask(key, prompt, lambda _: None)
        self._memory.condense(answered.response.message.text.strip() or NOTHING_SAID, urgent=urgent)
        return True

    async def _ask(
        self,
        key: str,
        prompt: Callable[[], Awaitable[Prompt]],
        decide: Callable[[LlmResponse], Decision | None],
    ) -> Answered:
        answered = await self._model.ask(key, prompt, decide)
        self._steps += 1
        self._seconds += answered.seconds
        self._usage += answered.response.usage
        return answered

    async def _prompt(self) -> Prompt:
        return self._planner.prompt(await self._memory.view(), tuple(self._specs.values()))

    def _decide(self, response: LlmResponse) -> Decision:
        correction = correction_for(response)
        decision = correction or self._planner.decide(response, tuple(self._specs.values()))
        match decision:
            case CallTools(calls) if len(calls) > self._limits.calls_per_step:
                return too_many_calls(len(calls), allowed=self._limits.calls_per_step)
            case CallTools(calls):
                return unwritable(calls) or decision
            case Answer(text):
                return self._checked(text)
            case _:
                return decision

    def _checked(self, answer: str) -> Answer | Correct:
        try:
            self._finished(answer)
        except OutputFormatError as error:
            return Correct(f"Your final answer could not be used: {error}. Answer again.")
        return Answer(answer)

    def _finished(self, answer: str) -> Finished:
        form = self._agent.output_format
        if form is None:
            return Finished(answer)
        output = form.read(answer)
        return Finished(answer, output, form.value(output))

    async def _call_tools(self, step: int, calls: Sequence[ToolCall]) -> None:
        observed = await self._caller.call_all(step, calls, self._specs)
        await self._remember(ToolMessage(tuple(each.result for each in observed)))
        self._tool_calls += len(observed)
        self._seconds += sum(each.seconds for each in observed)
        self._repeats.add(calls, [each.result for each in observed])
        if self._repeats.note:
            await self._remember(UserMessage(self._repeats.note))
        for result in (each.result for each in observed if not each.result.is_error):
            successor = self._acting.hand_offs.get(result.name.removeprefix(PREFIX))
            if result.name.startswith(PREFIX) and successor is not None:
                self._take_over(successor)
                await self._remember(SystemMessage(f"From here on you are another agent.\n{successor.instructions}"))
                break  # of several the first: an answer has one author
        misasked = all(each.misasked for each in observed)
        self._corrections_in_a_row = self._corrections_in_a_row + 1 if misasked else 0

    async def _work_by(self, steps: tuple[str, ...], message: AssistantMessage) -> None:
        self._plan = steps
        self._repeats.forget()
        numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
        await self._remember(message, PlanMessage(f"The plan:\n{numbered}", steps), UserMessage("Carry out the plan."))
        self._corrections_in_a_row = 0

    async def _correct(self, message: AssistantMessage, observation: str) -> None:
        # Without its calls, which were not made: a vendor refuses a call that has no result.
        if message.text.strip():
            await self._remember(AssistantMessage(message.text))
        await self._remember(UserMessage(observation))
        self._repeats.forget()
        self._corrections_in_a_row += 1

    def _report(self, outcome: Outcome) -> RunReport:
        return RunReport(
            outcome=outcome,
            usage=self._usage,
            steps=self._steps,
            tool_calls=self._tool_calls,
            seconds=self._seconds,
            plan=self._plan,
            transcript=tuple(self._transcript),
        )


def _held_to(agent: Agent, planner: BasePlanner) -> JsonObject | None:
    """What the model's vendor is asked to hold it to."""
    form = agent.output_format
    return form.schema if form is not None and planner.answers_plainly else None
