"""What a client asked for and what it was told: on disk before each request, as a careful client would keep it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx2

#: How long a client goes on asking a server that is away.
PATIENCE_SECONDS = 90.0


class Ledger:
    """The submissions of one run, by their idempotency keys (`ref`)."""

    def __init__(self, file: Path, *, prefix: str) -> None:
        self._prefix = prefix
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self._count = 0
        self._agents: dict[str, str] = {}
        self._accepted: dict[str, list[UUID]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def refs(self) -> Sequence[str]:
        """All that were asked for."""
        return list(self._accepted)

    @property
    def ids(self) -> Sequence[UUID]:
        """All that were accepted, in order."""
        return [id for ids in self._accepted.values() for id in dict.fromkeys(ids)]

    def accepted(self, ref: str) -> Sequence[UUID]:
        """The ids that the server has answered with; more than one different id is a fault."""
        return list(dict.fromkeys(self._accepted[ref]))

    def agent_of(self, ref: str) -> str:
        """Which agent was asked for."""
        return self._agents[ref]

    def asked(self, agent: str, **facts: Any) -> str:
        """A new submission is about to be sent; its ref."""
        with self._lock:
            self._count += 1
            ref = f"{self._prefix}-{self._count}"
            self._accepted[ref] = []
            self._agents[ref] = agent
        self._write({"ref": ref, "agent": agent, "asked": facts})
        return ref

    def told(self, ref: str, id: UUID) -> None:
        self._write({"ref": ref, "id": str(id)})
        self._accepted[ref].append(id)

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")
        os.fdatasync(self._descriptor)


class Submitter:
    """Submits through HTTP, again under the same key until there is an answer."""

    def __init__(self, url: str, ledger: Ledger, *, queue: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._http = httpx2.Client(base_url=url, timeout=30)
        self._ledger = ledger
        self._queue = queue
        self._patience = patience_seconds
        #: Requests that got no answer, or one that said to try again.
        self.unanswered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, agent: str, *, mark: str = "", **fields: Any) -> UUID:
        """One task; `mark` goes into its goal, where a kill point looks for it."""
        ref = self._ledger.asked(agent, mark=mark)
        goal = f"Charge for each step. ref:{ref} {mark}".strip()
        body = {"agent": agent, "goal": goal, "queue": self._queue, **fields}
        id = self._post_until_answered(ref, body)
        self._ledger.told(ref, id)
        return id

    def submit_many(self, agents: Sequence[str], *, threads: int = 4, **fields: Any) -> list[UUID]:
        """One task of each agent, several at a time."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda agent: self.submit(agent, **fields), agents))

    def _post_until_answered(self, ref: str, body: dict[str, Any]) -> UUID:
        give_up_at = time.monotonic() + self._patience
        while True:
            try:
                answer = self._http.post("/api/v1/tasks", json=body, headers={"Idempotency-Key": ref})
                if answer.status_code in (200, 201):
                    return UUID(answer.json()["id"])
                if answer.status_code != 503:
                    raise AssertionError(f"{answer.status_code} to {ref}: {answer.text[:500]}")
            except httpx2.TransportError:
                pass
            self.unanswered += 1
            if time.monotonic() > give_up_at:
                raise AssertionError(f"no answer to {ref} within {self._patience:g} s")
            time.sleep(0.05)
