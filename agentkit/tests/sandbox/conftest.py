"""Workers to break out of, by each mechanism and by none, as an ordinary user and as root."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from agentkit.tests.sandbox.ordinary import as_ordinary_user, with_readable_python

_HAS_SANDBOXES = sys.platform.startswith("linux")
_ROOT = Path(__file__).parents[3]


def unavailable(reason: str) -> NoReturn:
    """Skip aloud, or fail where services are required (OPS_CORE_TEST_REQUIRE_SERVICES=1, as in CI)."""
    if os.environ.get("OPS_CORE_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason}; sandboxes are required here", pytrace=False)
    pytest.skip(reason)


class Worker:
    """The program `probing`, which runs one probe after the other."""

    def __init__(self, mechanism: str, *, as_root: bool = False, seconds: float = 30) -> None:
        token = secrets.token_hex(16)
        program = [sys.executable, "-B", "-m", "agentkit.tests.sandbox.probing", mechanism, token, str(seconds)]
        self._process = subprocess.Popen(
            with_readable_python(program) if as_root else as_ordinary_user(program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={"PATH": os.environ["PATH"], "CANARY": token},
        )
        started = self._answer()
        if not started["ready"]:
            self.close()
            unavailable(f"the mechanism {mechanism} does not work here: {started['why']}")

    def probe(self, code: str) -> dict[str, Any]:
        """What came of this code, and the canaries that it reached."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert "reached" in answer, answer
        return answer

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            return {"ready": False, "why": f"the worker ended with {self._process.returncode}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (
            not _HAS_SANDBOXES
            and Path(__file__).parent in item.path.parents
            and not item.name.startswith("test_elsewhere")
        ):
            item.add_marker(pytest.mark.skip(reason="a sandbox needs Linux; elsewhere nothing is run without one"))


WAYS = ["bubblewrap", "landlock", "landlock-1", "bubblewrap as root", "landlock as root"]


@pytest.fixture(scope="session", params=WAYS)
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """One that runs the probes in a sandbox."""
    mechanism, _, who = request.param.partition(" as ")
    if who == "root" and os.geteuid() != 0:
        pytest.skip("these tests are not run by root; the sandboxes of an ordinary user are tried")
    worker = Worker(mechanism, as_root=who == "root")
    yield worker
    worker.close()


@pytest.fixture(scope="session", params=["bubblewrap", "landlock"])
def hasty_worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """One whose jobs have a second."""
    worker = Worker(request.param, seconds=1)
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def careless_worker() -> Iterator[Worker]:
    """One that runs them in a process of their own, and has no sandbox."""
    worker = Worker("none")
    yield worker
    worker.close()
