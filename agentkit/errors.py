"""Every error agentkit raises, in one tree. The class says who must act and whether trying again can help.

AgentkitError
├── ConfigurationError            the developer: a provider, key, extra or file is wrong or missing
├── LlmError                      the model's side; may carry retry_after_seconds
│   ├── BadCredentials            the key is missing, wrong or not allowed
│   ├── RateLimited               retryable
│   ├── ContextTooLong            the conversation does not fit the model
│   ├── Refused                   the model or its filter declined to answer
│   ├── LlmRequestInvalid         the vendor calls our request wrong (model name, parameter)
│   ├── LlmUnavailable            retryable: overloaded, 5xx, connection lost
│   │   └── LlmTimeout            retryable: no answer within the time given
│   └── MalformedReply            retryable: the answer is not what the vendor's format promises
├── ToolError                     an observation for the model, never the end of a run
│   ├── UnknownTool
│   ├── BadToolArguments
│   ├── ToolFailed
│   ├── ToolTimeout
│   ├── WaitExpired               what the tool waited for did not come in time
│   └── WaitDeclined              a person would not answer the tool's question
├── WaitAnswerInvalid             whoever answered a wait: the answer is not one that it can take
├── StepMismatch                  a replayed step is not the step that was journaled
├── OutcomeUnknown                a step with a side effect was begun and its end never recorded; it forbids a repeat
├── RunRevoked                    the run may not act any more (its journal says so)
├── DestinationRefused (in security/addresses.py)  a connection was asked for that must not be made
└── RunSuspended (in waits.py)    no failure: the run waits for something outside
"""

from __future__ import annotations

from typing import ClassVar


class AgentkitError(Exception):
    """Root of every error agentkit raises. The message defaults to the class's docstring."""

    #: Whether the same call may succeed later, unchanged.
    retryable: ClassVar[bool] = False
    #: Stable, machine-readable name.
    code: ClassVar[str] = "agentkit_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class ConfigurationError(AgentkitError):
    """The configuration is wrong; the message says what to change."""

    code = "configuration_error"


class LlmError(AgentkitError):
    """The model could not be asked, or its answer not used."""

    code = "llm_error"

    def __init__(self, message: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        #: How long the provider asked us to wait before the next try; None when it did not say.
        self.retry_after_seconds = retry_after_seconds


class BadCredentials(LlmError):
    """The provider did not accept the key."""

    code = "llm_bad_credentials"


class RateLimited(LlmError):
    """The provider wants us to slow down."""

    retryable = True
    code = "llm_rate_limited"


class ContextTooLong(LlmError):
    """The conversation is longer than the model can read."""

    code = "llm_context_too_long"


class Refused(LlmError):
    """The model or the provider's filter declined to answer."""

    code = "llm_refused"


class LlmRequestInvalid(LlmError):
    """The provider calls the request wrong: an unknown model, an unsupported parameter."""

    code = "llm_request_invalid"


class LlmUnavailable(LlmError):
    """The provider is overloaded, failing or out of reach."""

    retryable = True
    code = "llm_unavailable"


class LlmTimeout(LlmUnavailable):
    """The provider did not answer within the time given."""

    code = "llm_timeout"


class MalformedReply(LlmError):
    """The provider's answer is not in its own format."""

    retryable = True
    code = "llm_malformed_reply"


class ToolError(AgentkitError):
    """A tool could not do what the model asked; the model is told and may try otherwise."""

    code = "tool_error"


class UnknownTool(ToolError):
    """There is no tool of that name."""

    code = "tool_unknown"


class BadToolArguments(ToolError):
    """The arguments do not fit the tool's schema."""

    code = "tool_bad_arguments"


class ToolFailed(ToolError):
    """The tool raised, or returned something that cannot be used."""

    code = "tool_failed"


class ToolTimeout(ToolError):
    """The tool did not finish within its time."""

    code = "tool_timeout"


class WaitExpired(ToolError):
    """What the tool waited for did not come in time."""

    code = "tool_wait_expired"


class WaitDeclined(ToolError):
    """A person was asked and would not answer."""

    code = "tool_wait_declined"


class WaitAnswerInvalid(AgentkitError):
    """The answer to a wait is not one that this wait can take."""

    code = "wait_answer_invalid"


class StepMismatch(AgentkitError):
    """A replayed step is not the step that was journaled: the definition or the code has changed."""

    code = "step_mismatch"

    def __init__(self, step_key: str, *, journaled: str, now: str) -> None:
        super().__init__(
            f"step {step_key} was journaled as {journaled} but would now be {now}; "
            "retry the task from this step or from scratch"
        )
        self.step_key = step_key


class OutcomeUnknown(AgentkitError):
    """A side effect was begun, its end never recorded, and its tool says that it must never be run again."""

    code = "outcome_unknown"

    def __init__(self, step_key: str, tool: str) -> None:
        super().__init__(
            f"step {step_key} called {tool!r} and its outcome was never recorded; the step will not be run again"
        )
        self.step_key = step_key


class RunRevoked(AgentkitError):
    """This run may not act any more: it was cancelled, handed over, or lost its lease."""

    code = "run_revoked"
