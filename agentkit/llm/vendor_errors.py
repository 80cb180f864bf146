"""What an HTTP error of a model's vendor means in agentkit's own errors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agentkit.errors import (
    BadCredentials,
    ContextTooLong,
    LlmError,
    LlmRequestInvalid,
    LlmTimeout,
    LlmUnavailable,
    RateLimited,
    Refused,
)

#: A vendor's message longer than this is cut: it may repeat our whole request.
_LONGEST_MESSAGE = 500
#: A wait longer than a day is a broken header.
_LONGEST_WAIT_SECONDS = 86_400.0

_NO_CREDIT_CODES = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
_BAD_KEY_CODES = frozenset({"API_KEY_INVALID", "invalid_api_key", "authentication_error"})
_REFUSED_CODES = frozenset(
    {"content_filter", "content_policy_violation", "invalid_prompt", "moderation", "ResponsibleAIPolicyViolation"}
)
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "request_too_large"})
#: Most vendors, and all local servers, say it in prose only.
_TOO_LONG_PROSE = re.compile(
    r"prompt is too long|(context|sequence) (length|window|size|limit)|maximum number of tokens|"
    r"maximum context|too many (input )?tokens",
    re.IGNORECASE,
)


def error_for_status(
    provider: str, status: int, message: str, *, code: str = "", retry_after_seconds: float | None = None
) -> LlmError:
    """The error that an answer with this HTTP status stands for.

    `code` is the vendor's machine-readable name for it, if it gave one; `message` its words.
    """
    text = f"{provider} answered {status}: {_one_line(message) or 'no reason given'}"
    if status == 402 or code in _NO_CREDIT_CODES or "credit balance is too low" in message:
        return BadCredentials(f"{text} (the account behind the key cannot pay)")
    if code in _BAD_KEY_CODES:
        return BadCredentials(text)
    if code in _REFUSED_CODES:
        return Refused(text)
    if status == 413 or (status in (400, 422) and (code in _TOO_LONG_CODES or _TOO_LONG_PROSE.search(message))):
        return ContextTooLong(text)
    match status:
        case 401 | 403:
            return BadCredentials(text)
        case 429:
            return RateLimited(text, retry_after_seconds=retry_after_seconds)
        case 408 | 504:
            return LlmTimeout(text, retry_after_seconds=retry_after_seconds)
        case 409 | 425 | 499:
            return LlmUnavailable(text, retry_after_seconds=retry_after_seconds)
        case _ if status >= 500 and status != 501:
            return LlmUnavailable(text, retry_after_seconds=retry_after_seconds)
        case _ if 300 <= status < 400:
            return LlmRequestInvalid(f"{text}; it redirects elsewhere, check the base URL")
        case _:
            return LlmRequestInvalid(text)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the vendor asks us to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date."""
    milliseconds = seconds_in(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    retry_after = headers.get("retry-after", "")
    seconds = seconds_in(retry_after)
    return _seconds_until(retry_after) if seconds is None else seconds


def seconds_in(text: str) -> float | None:
    """The number, if it is one that can be waited for; None otherwise."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


def _seconds_until(http_date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return seconds_in(str((moment - datetime.now(UTC)).total_seconds()))


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
