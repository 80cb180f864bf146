"""The stores that every storage contract runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence

import pytest

from ops_core.ports import Nudge, NudgeKind
from ops_core.storage.store import Store, open_store


class NudgesSeen:
    """A bus that keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Nudge] = []

    def send(self, nudges: Sequence[Nudge]) -> None:
        self.sent.extend(nudges)

    def subscribe(self, listener: Callable[[Nudge], None], kinds: Collection[NudgeKind] = ()) -> Callable[[], None]:
        return lambda: None


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def store_url(request: pytest.FixtureRequest) -> str:
    """A new database with the schema, of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def nudges() -> NudgesSeen:
    return NudgesSeen()


@pytest.fixture
async def store(store_url: str, nudges: NudgesSeen) -> AsyncIterator[Store]:
    opened = await open_store(store_url, nudges=nudges, start_timeout_seconds=10)
    yield opened
    await opened.aclose()
