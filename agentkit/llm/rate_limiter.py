"""Lets calls through at no more than so many requests and tokens a minute, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from agentkit.errors import RateLimited
from agentkit.llm.allowance import Quota, RateAllowance

_MINUTE = 60.0
#: Of a request or token: what is missing less than this is there, whatever floating point makes of it.
_HARDLY_ANYTHING = 1e-6


class RateLimiter:
    """A budget of requests and tokens that fills evenly, shared by all calls of one event loop that are given it.

    A minute's worth is there at the start and may be spent at once. A limit that is not given is learned from the
    provider, and until then there is none; what the provider says later makes a limit stricter, never wider than given.
    """

    def __init__(self, *, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        """
        Raises:
            ValueError: a limit is not greater than 0.
        """
        if any(limit is not None and limit <= 0 for limit in (requests_per_minute, tokens_per_minute)):
            raise ValueError("requests_per_minute and tokens_per_minute must be greater than 0")
        self._requests = _Bucket(requests_per_minute)
        self._tokens = _Bucket(tokens_per_minute)
        self._waiting: deque[_Place] = deque()
        self._tokens_waited_for = 0
        self._alarm: asyncio.TimerHandle | None = None

    async def admit(self, tokens: int, *, within_seconds: float) -> None:
        """Return when a call of so many tokens may be made; it is then counted. One of more tokens than a minute has
        waits for a full minute's, and those after it for what it took too much.

        A caller that is cancelled gives its place free.

        Raises:
            RateLimited: it would not be in time; said at once when that is foreseeable.
        """
        expected = self._expected_wait(tokens)
        if expected > within_seconds:
            raise self._too_late(expected, within_seconds)
        place = _Place(tokens, asyncio.get_running_loop().create_future())
        self._join(place)
        try:
            async with asyncio.timeout(within_seconds) as limit:
                await place.turn
        except BaseException as error:
            self._leave(place)
            if isinstance(error, TimeoutError) and limit.expired():
                raise self._too_late(self._expected_wait(tokens), within_seconds) from None
            raise

    def correct(self, estimated_tokens: int, used_tokens: int) -> None:
        """A call that was admitted for so many tokens has used so many."""
        self._tokens.take(used_tokens - estimated_tokens, _now())
        self._let_in()

    def learn(self, allowance: RateAllowance) -> None:
        """Take over what the provider says it will still take, where that is less than we thought."""
        for bucket, quota in ((self._requests, allowance.requests), (self._tokens, allowance.tokens)):
            if quota is not None:
                bucket.learn(quota, _now())
        self._let_in()

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long: the provider asked for it."""
        self._requests.close(seconds, _now())
        self._let_in()

    def _expected_wait(self, tokens: int) -> float:
        """For a caller who comes now, after those who wait, if nothing changes meanwhile."""
        now, ahead = _now(), len(self._waiting)
        return max(
            self._requests.seconds_until(1, now, ahead=ahead),
            self._tokens.seconds_until(tokens, now, ahead=self._tokens_waited_for),
        )

    def _too_late(self, expected: float, within_seconds: float) -> RateLimited:
        limits = [f"{self._requests.per_minute} requests"] if self._requests.per_minute else []
        limits += [f"{self._tokens.per_minute} tokens"] if self._tokens.per_minute else []
        what = f"the limit of {' and '.join(limits)} a minute" if limits else "the pause the provider asked for"
        return RateLimited(
            f"{what} lets this call go in about {expected:.1f} s, and it has {within_seconds:g} s",
            retry_after_seconds=expected,
        )

    def _join(self, place: _Place) -> None:
        self._waiting.append(place)
        self._tokens_waited_for += place.tokens
        self._let_in()

    def _leave(self, place: _Place) -> None:
        """Give up a place, also one that has just been let in."""
        if place.is_let_in:
            self._requests.take(-1, _now())
            self._tokens.take(-place.tokens, _now())
        else:
            self._waiting.remove(place)
            self._tokens_waited_for -= place.tokens
        self._let_in()

    def _let_in(self) -> None:
        """Everybody whose turn has come; and wake up for the next one."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting:
            place, now = self._waiting[0], _now()
            seconds = max(self._requests.seconds_until(1, now), self._tokens.seconds_until(place.tokens, now))
            if seconds > 0:
                self._alarm = asyncio.get_running_loop().call_later(seconds, self._let_in)
                return
            self._waiting.popleft()
            self._tokens_waited_for -= place.tokens
            self._requests.take(1, now)
            self._tokens.take(place.tokens, now)
            place.let_in()


@dataclass(eq=False, slots=True)
class _Place:
    """Somebody who waits."""

    tokens: int
    turn: asyncio.Future[None]
    is_let_in: bool = False

    def let_in(self) -> None:
        self.is_let_in = True
        if not self.turn.done():
            self.turn.set_result(None)


class _Bucket:
    """What one limit has left: it fills evenly, up to a minute's worth, and may owe."""

    def __init__(self, per_minute: int | None) -> None:
        self._given = per_minute
        self.per_minute = per_minute
        self._level = float(per_minute or 0)
        self._as_of: float | None = None
        self._closed_until = 0.0

    def seconds_until(self, amount: float, now: float, *, ahead: float = 0) -> float:
        """Until so much may be taken, when others take so much first."""
        closed = max(self._closed_until - now, 0.0)
        if self.per_minute is None:
            return closed
        self._fill(now)
        missing = ahead + min(amount, self.per_minute) - self._level
        return max(closed, missing / self.per_minute * _MINUTE) if missing > _HARDLY_ANYTHING else closed

    def take(self, amount: float, now: float) -> None:
        """Or give back, what is negative."""
        self._fill(now)
        self._level -= amount

    def close(self, seconds: float, now: float) -> None:
        self._closed_until = max(self._closed_until, now + seconds)

    def learn(self, quota: Quota, now: float) -> None:
        self._fill(now)
        was_unknown = self.per_minute is None
        if quota.limit:
            self.per_minute = quota.limit if self._given is None else min(self._given, quota.limit)
        if self.per_minute is not None:
            remaining = self.per_minute if quota.remaining is None else quota.remaining
            self._level = remaining if was_unknown else min(self._level, remaining)
        if quota.remaining == 0 and quota.resets_in_seconds:
            # Some count by the minute and not evenly. A limit by the day is left to what its refusals say.
            self.close(min(quota.resets_in_seconds, _MINUTE), now)

    def _fill(self, now: float) -> None:
        since = now if self._as_of is None else self._as_of
        self._as_of = now
        if self.per_minute is not None:
            self._level = min(self._level + (now - since) / _MINUTE * self.per_minute, self.per_minute)


def _now() -> float:
    return asyncio.get_running_loop().time()
