"""OpenTelemetry spans of a run, named and described by the conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/: `invoke_agent`, `chat` and `execute_tool`. What models and tools
say is not in them.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from agentkit.hooks import FinishedStep, NoHooks, RunHooks
from agentkit.journal import StepKind
from agentkit.report import Finished
from agentkit.waits import RunSuspended

if TYPE_CHECKING:
    from agentkit.report import RunReport

_Open: TypeAlias = tuple[Span, Token[context.Context]]
#: The spans that this task has begun, the run's first.
_open: ContextVar[tuple[_Open, ...]] = ContextVar("open spans", default=())


class TracingHooks(NoHooks):
    """A span for each run, and in it one for each step that is executed; a replayed step is an event of the run's span.

    What is called within a step (a vendor's SDK, a tool's own HTTP client) finds the step's span as its parent. One
    object serves any number of runs.
    """

    def __init__(
        self, inner: RunHooks | None = None, *, agent_name: str = "", session_id: str = "", tracer: Tracer | None = None
    ) -> None:
        """
        Args:
            inner: Told everything as well.
            session_id: The conversation that the runs belong to.
            tracer: None is that of the tracer provider that the program has set.
        """
        self._inner = inner or NoHooks()
        self._agent_name = agent_name
        self._session_id = session_id
        self._tracer = tracer or trace.get_tracer("agentkit")

    @property
    def wants_text(self) -> bool:  # type: ignore[override]  # as the hooks around which these are
        return self._inner.wants_text

    def run_started(self, run_id: str) -> None:
        span = self._begin(f"invoke_agent {self._agent_name}".strip(), SpanKind.INTERNAL, "invoke_agent")
        span.set_attribute("agentkit.run.id", run_id)
        if self._agent_name:
            span.set_attribute("gen_ai.agent.name", self._agent_name)
        if self._session_id:
            span.set_attribute("gen_ai.conversation.id", self._session_id)
        self._inner.run_started(run_id)

    def run_ended(self, report: RunReport | None, error: BaseException | None) -> None:
        self._inner.run_ended(report, error)
        if (span := _current()) is None:
            return
        if report is not None:
            span.set_attribute("gen_ai.usage.input_tokens", report.usage.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", report.usage.output_tokens)
            span.set_attribute("agentkit.run.steps", report.steps)
            if not isinstance(report.outcome, Finished):
                span.set_attribute("agentkit.run.limit", report.outcome.limit.value)
        _end(error)

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        if kind is StepKind.llm:
            span = self._begin(f"chat {name}", SpanKind.CLIENT, "chat")
            span.set_attribute("gen_ai.request.model", name)
        else:
            span = self._begin(f"execute_tool {name}", SpanKind.INTERNAL, "execute_tool")
            span.set_attribute("gen_ai.tool.name", name)
        span.set_attribute("agentkit.step.key", key)
        self._inner.step_started(key, kind, name)

    def step_finished(self, step: FinishedStep) -> None:
        self._inner.step_finished(step)
        if (span := _current()) is None:
            return
        if step.replayed:
            span.add_event("step.replayed", {"agentkit.step.key": step.key})
            return
        if step.response is not None:
            usage = step.response.usage
            span.set_attribute("gen_ai.provider.name", step.response.provider)
            span.set_attribute("gen_ai.response.model", step.response.model)
            span.set_attribute("gen_ai.response.finish_reasons", [step.response.stop.value])
            span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
        if step.is_error:
            span.set_attribute("error.type", "tool_error")
            span.set_status(Status(StatusCode.ERROR))
        _end(None)

    def step_broken_off(self, key: str, error: BaseException) -> None:
        self._inner.step_broken_off(key, error)
        _end(error)

    def text_received(self, key: str, text: str) -> None:
        self._inner.text_received(key, text)

    def text_ended(self, key: str) -> None:
        self._inner.text_ended(key)

    def _begin(self, name: str, kind: SpanKind, operation: str) -> Span:
        span = self._tracer.start_span(name, kind=kind, attributes={"gen_ai.operation.name": operation})
        _open.set((*_open.get(), (span, context.attach(trace.set_span_in_context(span)))))
        return span


def _current() -> Span | None:
    spans = _open.get()
    return spans[-1][0] if spans else None


def _end(error: BaseException | None) -> None:
    """Of the span that was begun last on this task."""
    spans = _open.get()
    if not spans:
        return
    span, token = spans[-1]
    if isinstance(error, RunSuspended):
        # A wait is no failure: the run goes on in another span.
        span.set_attribute("agentkit.waits_for", sorted({wait.kind.value for wait in error.waits}))
    elif error is not None:
        span.set_attribute("error.type", getattr(error, "code", type(error).__name__))
        span.set_status(Status(StatusCode.ERROR))
    _open.set(spans[:-1])
    context.detach(token)
    span.end()
