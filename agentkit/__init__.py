"""Build and run one AI agent: a planner around a model, with tools, memory, limits and a journal."""

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
from agentkit.hooks import NoHooks, RunHooks
from agentkit.journal import ADOPTED, Journal, MemoryJournal, StepIntent, StepKind, StepResult
from agentkit.limits import LimitName, Limits
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.llm.demo import DemoLlm
from agentkit.llm.select import make_llm
from agentkit.memory.base import BaseMemory
from agentkit.memory.short_term import ShortTermMemory
from agentkit.memory.summarizing import SummarizingMemory
from agentkit.planners.base import BasePlanner, Prompt
from agentkit.planners.one_call import OneCallPlanner
from agentkit.planners.plan_execute import PlanExecutePlanner
from agentkit.planners.react import ReActPlanner
from agentkit.report import Finished, LimitReached, Outcome, RunReport
from agentkit.security.allow_all import AllowAll
from agentkit.security.allow_list import AllowList
from agentkit.security.base import Allowed, BaseSecurityManager, Denied, NeedsApproval, Verdict
from agentkit.tools.allowed import AllowedTools
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.tools.builtin import ask_person, calculator, clock, convert_units, sleep, wait_for_signal
from agentkit.tools.combined import CombinedTools
from agentkit.tools.function import FunctionTool, tool
from agentkit.tools.registry import ToolRegistry
from agentkit.tools.waits import Waits
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
    "AssistantMessage",
    "Attachment",
    "BadCredentials",
    "BadToolArguments",
    "BaseLlmClient",
    "BaseMemory",
    "BasePlanner",
    "BaseSecurityManager",
    "BaseToolManager",
    "CallTools",
    "CombinedTools",
    "ConfigurationError",
    "ContextTooLong",
    "Correct",
    "Decision",
    "DemoLlm",
    "Denied",
    "Finished",
    "FunctionTool",
    "Journal",
    "JsonObject",
    "JsonValue",
    "LimitName",
    "LimitReached",
    "Limits",
    "LlmError",
    "LlmRequestInvalid",
    "LlmResponse",
    "LlmTimeout",
    "LlmUnavailable",
    "MalformedReply",
    "MemoryJournal",
    "Message",
    "NeedsApproval",
    "NoHooks",
    "OnUnknown",
    "OneCallPlanner",
    "Outcome",
    "OutcomeUnknown",
    "Plan",
    "PlanExecutePlanner",
    "PlanMessage",
    "Prompt",
    "RateLimited",
    "ReActPlanner",
    "Refused",
    "RunHooks",
    "RunReport",
    "RunRevoked",
    "RunSuspended",
    "ShortTermMemory",
    "StepIntent",
    "StepKind",
    "StepMismatch",
    "StepResult",
    "StopReason",
    "SummarizingMemory",
    "SystemMessage",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolFailed",
    "ToolMessage",
    "ToolRegistry",
    "ToolResult",
    "ToolSpec",
    "ToolTimeout",
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
    "ask_person",
    "calculator",
    "clock",
    "convert_units",
    "make_llm",
    "sleep",
    "tool",
    "wait_for_signal",
]
