"""The world outside of the product: models that note each call by task and step, and a sink for effects."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from agentkit.tests.llm.http_server import HttpServer, Reply, Request, json_reply
from agentkit.tests.llm.vendor_server import VendorServer

T = TypeVar("T")

_REF = re.compile(r"ref:([a-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A model was asked: for which task (`ref` of its submission) and which step."""

    ref: str
    step_key: str
    #: The process that asked: each has a key of its own.
    by: str
    #: Seconds since the epoch, by this machine's clock, which is the database's too.
    at: float


@dataclass(frozen=True, slots=True)
class Effect:
    """The sink was asked for an effect."""

    #: The idempotency key: `<task id>/<round>:<step key>`.
    key: str
    tool: str
    by: str
    at: float

    @property
    def task_id(self) -> str:
        return self.key.partition("/")[0]

    @property
    def step_key(self) -> str:
        return self.key.partition(":")[2]


class Models(VendorServer):
    """The models `react-<steps>-delay-<ms>`, whose calls are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[ModelCall] = []

    def _answer(self, request: Request) -> Reply:
        at, before = time.time(), self.calls.total()
        reply = super()._answer(request)
        if self.calls.total() > before:
            asked = self.requests[-1]
            found = _REF.search(request.body.decode())
            # Its messages carry what came of each step before.
            step_key, by = f"{len(asked.results) + 1}/llm", asked.headers["authorization"].removeprefix("Bearer ")
            self.noted.append(ModelCall(found[1] if found else "?", step_key, by, at))
        return reply


class Sink:
    """Applies the first request of an idempotency key, and counts repeats."""

    def __init__(self) -> None:
        self._http = HttpServer(self._answer)
        self.noted: list[Effect] = []
        self._applied: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, exc, traceback)

    @property
    def url(self) -> str:
        return self._http.url

    async def _answer(self, request: Request) -> Reply:
        asked = json.loads(request.body)
        effect = Effect(asked["key"], asked["tool"], asked["by"], time.time())
        self.noted.append(effect)
        is_first = effect.key not in self._applied
        self._applied.add(effect.key)
        return json_reply({"applied": is_first})


class Outside:
    """Both, on an event loop in a thread of its own: tests may block, and no kill reaches it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._models = self._run(Models().__aenter__())
        self._sink = self._run(Sink().__aenter__())

    @property
    def model_url(self) -> str:
        return self._models.base_url("compatible")

    @property
    def sink_url(self) -> str:
        return self._sink.url

    def model_calls(self) -> list[ModelCall]:
        return list(self._models.noted)

    def effects(self) -> list[Effect]:
        return list(self._sink.noted)

    def forget(self) -> None:
        """What was noted so far."""
        self._models.noted.clear()
        self._sink.noted.clear()

    def close(self) -> None:
        self._run(self._models.__aexit__(None, None, None))
        self._run(self._sink.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
