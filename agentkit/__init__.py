"""Build and run one AI agent: a planner around a model, with tools, memory, limits and a journal."""

from importlib import import_module
from typing import Any

#: The public names of each module. They are imported when they are first used: all of them together take half a second,
#: and a script that has one agent asked needs few.
_NAMES = {
    "agentkit.agent": "Agent",
    "agentkit.attachments": "Attachment",
    "agentkit.decisions": "Answer CallTools Correct Decision Plan",
    "agentkit.errors": (
        "AgentkitError BadCredentials BadToolArguments ConfigurationError ContextTooLong LlmError "
        "LlmRequestInvalid LlmTimeout LlmUnavailable MalformedReply OutcomeUnknown RateLimited "
        "Refused RunRevoked StepMismatch ToolError ToolFailed ToolTimeout UnknownTool "
        "WaitAnswerInvalid WaitDeclined WaitExpired"
    ),
    "agentkit.hooks": "FinishedStep NoHooks RunHooks",
    "agentkit.journal": "ADOPTED Journal MemoryJournal StepIntent StepKind StepResult",
    "agentkit.limits": "LimitName Limits",
    "agentkit.llm.allowance": "Quota RateAllowance",
    "agentkit.llm.base": "BaseLlmClient LlmResponse StopReason Usage",
    "agentkit.llm.cached": "CachedLlm",
    "agentkit.llm.demo": "DemoLlm",
    "agentkit.llm.fallback": "FallbackLlm",
    "agentkit.llm.metered": "MeterTotal Metered MeteredLlm Money",
    "agentkit.llm.rate_limited": "RateLimitedLlm",
    "agentkit.llm.rate_limiter": "RateLimiter",
    "agentkit.llm.recorded": "RecordingLlm ReplayingLlm",
    "agentkit.llm.response_store": "MemoryResponseStore ResponseStore",
    "agentkit.llm.retrying": "Backoff RetryingLlm",
    "agentkit.llm.select": "make_llm",
    "agentkit.llm.wrapper": "LlmCall LlmWrapper",
    "agentkit.memory.base": "BaseMemory",
    "agentkit.memory.short_term": "ShortTermMemory",
    "agentkit.memory.summarizing": "SummarizingMemory",
    "agentkit.planners.base": "BasePlanner Prompt",
    "agentkit.planners.one_call": "OneCallPlanner",
    "agentkit.planners.plan_execute": "PlanExecutePlanner",
    "agentkit.planners.react": "ReActPlanner",
    "agentkit.report": "Finished LimitReached Outcome RunReport",
    "agentkit.sandbox.base": "Ending Sandbox SandboxLimits SandboxResult",
    "agentkit.sandbox.select": "open_sandbox",
    "agentkit.security.addresses": "DestinationRefused HostPolicy",
    "agentkit.security.allow_all": "AllowAll",
    "agentkit.security.allow_list": "AllowList",
    "agentkit.security.ask_first": "AskFirst",
    "agentkit.security.base": "Allowed BaseSecurityManager Denied NeedsApproval Verdict",
    "agentkit.security.redaction": "Redactor",
    "agentkit.tools.agent_tool": "agent_tool",
    "agentkit.tools.allowed": "AllowedTools",
    "agentkit.tools.base": "BaseToolManager OnUnknown ToolContext ToolSpec",
    "agentkit.tools.budgeted": "BudgetedTools",
    "agentkit.tools.builtin": "ask_person calculator clock convert_units sleep wait_for_signal",
    "agentkit.tools.cached": "CachedTools",
    "agentkit.tools.combined": "CombinedTools",
    "agentkit.tools.function": "FunctionTool tool",
    "agentkit.tools.http_fetch": "http_fetch make_http_fetch",
    "agentkit.tools.notes": "MemoryNoteStore NoteStore Notes",
    "agentkit.tools.prefixed": "PrefixedTools",
    "agentkit.tools.python": "make_python",
    "agentkit.tools.registry": "ToolRegistry",
    "agentkit.tools.sandboxed": "modules_of sandboxed",
    "agentkit.tools.timed": "TimedTools",
    "agentkit.tools.waits": "Waits",
    "agentkit.tools.workspace": "Workspace",
    "agentkit.tools.wrapper": "ToolWrapper",
    "agentkit.transcript": (
        "AssistantMessage JsonObject JsonValue Message PlanMessage SystemMessage ToolCall "
        "ToolMessage ToolResult UserMessage"
    ),
    "agentkit.waits": "RunSuspended Wait WaitKind",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    # From now on without this function.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
