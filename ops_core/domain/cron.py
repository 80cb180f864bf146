"""The times of a cron line in a time zone, daylight saving done as Debian's cron does it.

A line that names its hour and minute fires once a day: on the night when an hour comes twice, in the first of the two;
on the night when its hour is missing, at the first moment after the gap. One with a star there goes by the clock.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from ops_core.errors import FieldProblem, InvalidInput

#: Longest cron line.
MAX_CRON_CHARS = 255
_MAX_ZONE_CHARS = 64
#: Names that a machine's zone folder may have, which mean another zone on each machine.
_LOCAL_NAMES = frozenset({"localtime", "posixrules", "Factory"})


@dataclass(frozen=True, slots=True)
class CronLine:
    """A line that is known to fire, in a zone that is known to exist."""

    cron: str
    timezone: str

    @classmethod
    def parse(cls, cron: str, timezone: str, *, now: datetime) -> CronLine:
        """Raises:
        InvalidInput: the line cannot be read or never fires, or there is no such zone.
        """
        problems = [
            *([FieldProblem("/cron", detail)] if (detail := _cron_problem(cron)) else []),
            *([FieldProblem("/timezone", detail)] if (detail := _zone_problem(timezone)) else []),
        ]
        line = cls(" ".join(cron.split()), timezone)
        if not problems and line.next_after(now) is None:
            problems = [FieldProblem("/cron", "never fires: no day within fifty years is like that")]
        if problems:
            said = "; ".join(f"`{p.pointer[1:]}` {p.detail}" for p in problems)
            raise InvalidInput(said if said.endswith("?") else said + ".", problems=problems)
        return line

    def next_after(self, at: datetime) -> datetime | None:
        """The first time later than this one (UTC); None when there is none within fifty years."""
        return next(self._times(at), None)

    def first_after(self, at: datetime, *, count: int) -> list[datetime]:
        """The first so many times later than this one."""
        return [time for time, _ in zip(self._times(at), range(count), strict=False)]

    def newest_until(self, until: datetime, *, since: datetime, limit: int) -> tuple[list[datetime], bool]:
        """The newest times from `since` to `until`, both included, at most `limit`, the oldest first; and whether
        there are older ones that were left out."""
        reach = timedelta(hours=1)
        while True:
            # Not all since the year before last: a line of every minute has half a million of them in each year.
            start = max(since, until - reach)
            newest: deque[datetime] = deque(maxlen=limit)
            found = 0
            for time in self._times(start - timedelta(microseconds=1)):
                if time > until:
                    break
                newest.append(time)
                found += 1
            if found > limit or start == since:
                return list(newest), found > limit
            reach *= 2

    def _times(self, after: datetime) -> Iterator[datetime]:
        last = after.astimezone(UTC)
        for time in CronSim(self.cron, after.astimezone(_zone(self.timezone))):
            at = time.astimezone(UTC)
            # Within the hour that comes twice the library begins with the times of the first.
            if at > last:
                yield at
                last = at


def _cron_problem(cron: str) -> str | None:
    if len(cron) > MAX_CRON_CHARS:
        return f"must have at most {MAX_CRON_CHARS} characters, not {len(cron)}"
    fields = cron.split()
    if len(fields) != 5:
        return (
            "must have five fields (minute, hour, day of month, month, day of week), such as `30 2 * * 1-5`, "
            f"not {len(fields)}"
        )
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        if "day-of-month" in str(error) and _can_be_read(fields):
            return "never fires: none of its months has that day"
        return f"cannot be read: {str(error)[:1].lower()}{str(error)[1:]}"
    return None


def _can_be_read(fields: list[str]) -> bool:
    """Whether the line is well formed in a year in which every day is in some month."""
    try:
        CronSim(" ".join((*fields[:3], "*", fields[4])), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _zone_problem(timezone: str) -> str | None:
    if len(timezone) <= _MAX_ZONE_CHARS and _exists(timezone):
        return None
    shown = timezone[:_MAX_ZONE_CHARS]
    close = difflib.get_close_matches(shown, _known_zones(), n=1, cutoff=0.7)
    hint = f"; did you mean {close[0]}?" if close else ", such as Europe/Berlin or UTC"
    return f"{shown!r} is no time zone: give an IANA name{hint}"


def _exists(timezone: str) -> bool:
    if timezone in _LOCAL_NAMES:
        return False
    try:
        _zone(timezone)
    except (KeyError, ValueError, OSError):
        # No such key; no key at all, such as a path; a folder of zones.
        return False
    return True


@lru_cache(maxsize=1)
def _known_zones() -> list[str]:
    return sorted(available_timezones() - _LOCAL_NAMES)


def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)
