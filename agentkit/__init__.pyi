"""What type checkers see of `__init__.py`, which imports each name when it is first used."""

from agentkit.agent import Agent
from agentkit.attachments import Attachment
from agentkit.decisions import Answer, CallTools, Correct, Decision, Plan
from agentkit.errors import (
    AgentkitError,
    BadCredentials,
    BadToolArguments,
    ConfigurationError,
    ContextTooLong,
    LlmError,
    LlmRequestInvalid,
    LlmTimeout,
    LlmUnavailable,
    MalformedReply,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RunRevoked,
    StepMismatch,
    ToolError,
    ToolFailed,
    ToolTimeout,
    UnknownTool,
    WaitAnswerInvalid,
    WaitDeclined,
    WaitExpired,
)
from agentkit.hooks import FinishedStep, NoHooks, RunHooks
from agentkit.journal import ADOPTED, Journal, MemoryJournal, StepIntent, StepKind, StepResult
from agentkit.limits import LimitName, Limits
from agentkit.llm.allowance import Quota, RateAllowance
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.llm.cached import CachedLlm
from agentkit.llm.demo import DemoLlm
from agentkit.llm.fallback import FallbackLlm
from agentkit.llm.metered import Metered, MeteredLlm, MeterTotal, Money
from agentkit.llm.rate_limited import RateLimitedLlm
from agentkit.llm.rate_limiter import RateLimiter
from agentkit.llm.recorded import RecordingLlm, ReplayingLlm
from agentkit.llm.response_store import MemoryResponseStore, ResponseStore
from agentkit.llm.retrying import Backoff, RetryingLlm
from agentkit.llm.select import make_llm
from agentkit.llm.wrapper import LlmCall, LlmWrapper
from agentkit.memory.base import BaseMemory
from agentkit.memory.short_term import ShortTermMemory
from agentkit.memory.summarizing import SummarizingMemory
from agentkit.planners.base import BasePlanner, Prompt
from agentkit.planners.one_call import OneCallPlanner
from agentkit.planners.plan_execute import PlanExecutePlanner
from agentkit.planners.react import ReActPlanner
from agentkit.report import Finished, LimitReached, Outcome, RunReport
from agentkit.sandbox.base import Ending, Sandbox, SandboxLimits, SandboxResult
from agentkit.sandbox.select import open_sandbox
from agentkit.security.addresses import DestinationRefused, HostPolicy
from agentkit.security.allow_all import AllowAll
from agentkit.security.allow_list import AllowList
from agentkit.security.ask_first import AskFirst
from agentkit.security.base import Allowed, BaseSecurityManager, Denied, NeedsApproval, Verdict
from agentkit.security.redaction import Redactor
from agentkit.tools.agent_tool import agent_tool
from agentkit.tools.allowed import AllowedTools
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.tools.budgeted import BudgetedTools
from agentkit.tools.builtin import ask_person, calculator, clock, convert_units, sleep, wait_for_signal
from agentkit.tools.cached import CachedTools
from agentkit.tools.combined import CombinedTools
from agentkit.tools.function import FunctionTool, tool
from agentkit.tools.http_fetch import http_fetch, make_http_fetch
from agentkit.tools.notes import MemoryNoteStore, Notes, NoteStore
from agentkit.tools.prefixed import PrefixedTools
from agentkit.tools.python import make_python
from agentkit.tools.registry import ToolRegistry
from agentkit.tools.sandboxed import modules_of, sandboxed
from agentkit.tools.timed import TimedTools
from agentkit.tools.waits import Waits
from agentkit.tools.workspace import Workspace
from agentkit.tools.wrapper import ToolWrapper
from agentkit.transcript import (
    AssistantMessage,
    JsonObject,
    JsonValue,
    Message,
    PlanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from agentkit.waits import RunSuspended, Wait, WaitKind

__all__ = [
    "ADOPTED",
    "Agent",
    "AgentkitError",
    "AllowAll",
    "AllowList",
    "Allowed",
    "AllowedTools",
    "Answer",
    "AskFirst",
    "AssistantMessage",
    "Attachment",
    "Backoff",
    "BadCredentials",
    "BadToolArguments",
    "BaseLlmClient",
    "BaseMemory",
    "BasePlanner",
    "BaseSecurityManager",
    "BaseToolManager",
    "BudgetedTools",
    "CachedLlm",
    "CachedTools",
    "CallTools",
    "CombinedTools",
    "ConfigurationError",
    "ContextTooLong",
    "Correct",
    "Decision",
    "DemoLlm",
    "Denied",
    "DestinationRefused",
    "Ending",
    "FallbackLlm",
    "Finished",
    "FinishedStep",
    "FunctionTool",
    "HostPolicy",
    "Journal",
    "JsonObject",
    "JsonValue",
    "LimitName",
    "LimitReached",
    "Limits",
    "LlmCall",
    "LlmError",
    "LlmRequestInvalid",
    "LlmResponse",
    "LlmTimeout",
    "LlmUnavailable",
    "LlmWrapper",
    "MalformedReply",
    "MemoryJournal",
    "MemoryNoteStore",
    "MemoryResponseStore",
    "Message",
    "MeterTotal",
    "Metered",
    "MeteredLlm",
    "Money",
    "NeedsApproval",
    "NoHooks",
    "NoteStore",
    "Notes",
    "OnUnknown",
    "OneCallPlanner",
    "Outcome",
    "OutcomeUnknown",
    "Plan",
    "PlanExecutePlanner",
    "PlanMessage",
    "PrefixedTools",
    "Prompt",
    "Quota",
    "RateAllowance",
    "RateLimited",
    "RateLimitedLlm",
    "RateLimiter",
    "ReActPlanner",
    "RecordingLlm",
    "Redactor",
    "Refused",
    "ReplayingLlm",
    "ResponseStore",
    "RetryingLlm",
    "RunHooks",
    "RunReport",
    "RunRevoked",
    "RunSuspended",
    "Sandbox",
    "SandboxLimits",
    "SandboxResult",
    "ShortTermMemory",
    "StepIntent",
    "StepKind",
    "StepMismatch",
    "StepResult",
    "StopReason",
    "SummarizingMemory",
    "SystemMessage",
    "TimedTools",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolFailed",
    "ToolMessage",
    "ToolRegistry",
    "ToolResult",
    "ToolSpec",
    "ToolTimeout",
    "ToolWrapper",
    "UnknownTool",
    "Usage",
    "UserMessage",
    "Verdict",
    "Wait",
    "WaitAnswerInvalid",
    "WaitDeclined",
    "WaitExpired",
    "WaitKind",
    "Waits",
    "Workspace",
    "agent_tool",
    "ask_person",
    "calculator",
    "clock",
    "convert_units",
    "http_fetch",
    "make_http_fetch",
    "make_llm",
    "make_python",
    "modules_of",
    "open_sandbox",
    "sandboxed",
    "sleep",
    "tool",
    "wait_for_signal",
]
