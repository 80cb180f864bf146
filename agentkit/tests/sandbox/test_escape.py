"""Code inside a sandbox reaches nothing of the worker: no file, memory, environment, socket or process of it."""

from __future__ import annotations

import errno
from ast import literal_eval

import pytest

from agentkit.tests.sandbox.conftest import Worker
from agentkit.tests.sandbox.probes import NUMBERS, PROBES, Probe


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_nothing_of_the_worker_is_reached(worker: Worker, probe: Probe) -> None:
    seen = worker.probe(probe.code)
    assert seen["reached"] == [], seen


@pytest.mark.parametrize("probe", [each for each in PROBES if not each.harmless_because], ids=lambda probe: probe.name)
def test_without_a_sandbox_it_is_reached(careless_worker: Worker, probe: Probe) -> None:
    seen = careless_worker.probe(probe.code)
    assert seen["reached"] != [], seen


@pytest.fixture(scope="session")
def answers_of_the_kernel(worker: Worker) -> dict[str, tuple[int, int]]:
    """What each system call returned inside, and its error number."""
    code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    code += f"{{n: (libc.syscall(c, 0, 0, 0, 0, 0, 0), ctypes.get_errno()) for n, c in {NUMBERS!r}.items()}}"
    answers: dict[str, tuple[int, int]] = literal_eval(worker.probe(code)["value"])
    return answers


@pytest.mark.parametrize("name", NUMBERS)
def test_a_system_call_that_python_does_not_need_is_refused(
    answers_of_the_kernel: dict[str, tuple[int, int]], name: str
) -> None:
    assert answers_of_the_kernel[name] in {(-1, errno.EPERM), (-1, errno.ENOSYS)}


def test_a_call_from_another_table_of_numbers_kills(worker: Worker) -> None:
    seen = worker.probe("import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 39)")
    assert (seen["ending"], seen["error"]) == ("died", "it ended before it gave an answer (signal 31)")
