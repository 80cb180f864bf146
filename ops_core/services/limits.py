"""What bounds a request: plain numbers that bootstrap takes from the settings."""

from __future__ import annotations

from dataclasses import dataclass

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits:
    """Bounds on what one request may ask for."""

    #: Longest goal, in characters.
    max_goal_chars: int = 100_000
    #: Largest input of one task, as UTF-8 JSON.
    max_input_bytes: int = 1_000_000
    #: Deepest nesting of an input.
    max_json_depth: int = 32
    #: Most tasks in one batch submit.
    max_batch: int = 500
    #: Most tasks or events in one page.
    max_page: int = 200
    #: Longest one call may wait for a task.
    max_wait_seconds: float = 60.0
    #: Longest wall time a task may ask for.
    max_timeout_seconds: float = 366 * _DAY
    max_attempts: int = 100
    #: How far ahead `run_at` may be.
    max_run_ahead_seconds: float = 5 * 366 * _DAY
    #: How far back `run_at` may be: clocks differ, and a request takes its time.
    run_at_tolerance_seconds: float = 60.0
    max_labels: int = 32
    max_label_chars: int = 255
    max_key_chars: int = 255
    #: Longest concurrency, rate or fairness key.
    max_limit_key_chars: int = 256
    #: Most tasks at once, or starts in a time, that a key may ask for.
    max_key_limit: int = 100_000
    #: Longest reason of a decision.
    max_reason_chars: int = 10_000
    #: Largest payload of a signal, as UTF-8 JSON.
    max_signal_bytes: int = 64_000
    #: Most signals that a task keeps.
    max_signals: int = 1_000
    #: Longest instructions that a fork may give.
    max_instructions_chars: int = 200_000
