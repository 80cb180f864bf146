"""When a failed attempt is tried again: exponential back-off with full jitter.

Full jitter as in "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): the pause is uniform between zero and
the exponential bound, so that many tasks that failed together do not come back together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Pauses between attempts, in seconds."""

    base_seconds: float = 1.0
    max_seconds: float = 300.0

    def delay_seconds(self, attempt: int, *, retry_after_seconds: float | None, rng: random.Random) -> float:
        """The pause after failed attempt number `attempt` (1 for the first); never shorter than the provider asked."""
        # The exponent is capped so that a huge attempt number cannot overflow the float.
        bound = min(self.max_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 40))
        return max(retry_after_seconds or 0.0, rng.uniform(0.0, bound))
