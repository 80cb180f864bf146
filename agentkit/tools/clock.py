"""The tool that tells the time in a zone and converts a time between zones."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field

from agentkit.errors import BadToolArguments
from agentkit.tools.function import FunctionTool, tool

_TIME_ONLY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def make_clock(now: Callable[[], datetime]) -> FunctionTool[..., str]:
    """The clock tool on another source of the present (an aware datetime), for tests and replays."""

    @tool(side_effect=False)
    def clock(
        timezone: Annotated[str, Field(description="IANA time zone, for example Asia/Tokyo or UTC")] = "UTC",
        time: Annotated[
            str | None,
            Field(description="HH:MM today or an ISO date and time to convert; leave out for the time now"),
        ] = None,
        from_timezone: Annotated[str | None, Field(description="IANA time zone of `time`; UTC when left out")] = None,
    ) -> str:
        """Tell the time now in a time zone, or convert a time from one time zone to another."""
        zone = _zone(timezone)
        if time is None:
            return _written(now().astimezone(zone))
        source = _zone(from_timezone or "UTC")
        moment = _moment(time, source, now().astimezone(source))
        return f"{_written(moment)} is {_written(_converted(moment, zone))}"

    return clock


clock = make_clock(lambda: datetime.now(UTC))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadToolArguments(f"{name!r} is not an IANA time zone{_suggestion(name)}") from None


def _suggestion(name: str) -> str:
    city = name.strip().rsplit("/", 1)[-1].replace(" ", "_").casefold()
    close = sorted(z for z in available_timezones() if z.rsplit("/", 1)[-1].casefold() == city)
    return f"; did you mean {' or '.join(close[:3])}?" if close else ", such as Europe/Berlin."


def _moment(text: str, zone: ZoneInfo, today: datetime) -> datetime:
    try:
        if clock_time := _TIME_ONLY.fullmatch(text.strip()):
            hour, minute, second = (int(part or 0) for part in clock_time.groups())
            return today.replace(hour=hour, minute=minute, second=second, microsecond=0)
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadToolArguments(
            f"{text!r} is not a time: use HH:MM or an ISO date and time such as 2026-03-01T15:30."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _converted(moment: datetime, zone: ZoneInfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError as error:
        raise BadToolArguments(f"{moment.isoformat()} is not a time that can be converted.") from error


def _written(moment: datetime) -> str:
    zone = f" {moment.tzinfo.key}" if isinstance(moment.tzinfo, ZoneInfo) else ""
    return f"{moment:%A %Y-%m-%d %H:%M:%S}{zone} (UTC{moment:%z})"
