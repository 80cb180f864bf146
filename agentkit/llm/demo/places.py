"""The time zones of the places that people name to the demo model."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

#: Places that no IANA zone is named after.
_ZONES = {
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "la": "America/Los_Angeles",
    "california": "America/Los_Angeles",
    "boston": "America/New_York",
    "washington": "America/New_York",
    "miami": "America/New_York",
    "nyc": "America/New_York",
    "munich": "Europe/Berlin",
    "hamburg": "Europe/Berlin",
    "germany": "Europe/Berlin",
    "france": "Europe/Paris",
    "spain": "Europe/Madrid",
    "barcelona": "Europe/Madrid",
    "italy": "Europe/Rome",
    "milan": "Europe/Rome",
    "uk": "Europe/London",
    "england": "Europe/London",
    "geneva": "Europe/Zurich",
    "switzerland": "Europe/Zurich",
    "kyiv": "Europe/Kyiv",
    "beijing": "Asia/Shanghai",
    "china": "Asia/Shanghai",
    "india": "Asia/Kolkata",
    "mumbai": "Asia/Kolkata",
    "delhi": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata",
    "bangalore": "Asia/Kolkata",
    "osaka": "Asia/Tokyo",
    "japan": "Asia/Tokyo",
    "korea": "Asia/Seoul",
    "abu dhabi": "Asia/Dubai",
    "cape town": "Africa/Johannesburg",
    "rio": "America/Sao_Paulo",
    "utc": "UTC",
    "gmt": "UTC",
}


def zone_of(place: str) -> str | None:
    """The IANA zone of a city, a country or a zone's own name; None when it is not known."""
    key = " ".join(place.replace("_", " ").casefold().split()).strip(" .?!,")
    key = key.removeprefix("the ").removesuffix(" time")
    return _ZONES.get(key) or _zones_by_name().get(key)


@cache
def _zones_by_name() -> dict[str, str]:
    """Full names and last parts (`asia/tokyo`, `tokyo`) of the zones that are named after a region and a place."""
    zones = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))
    spoken = [(zone.replace("_", " ").casefold(), zone) for zone in zones]
    return {name.rpartition("/")[2]: zone for name, zone in reversed(spoken)} | dict(spoken)
