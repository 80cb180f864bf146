"""What a job may use: time, memory, threads, files and output; and what is left of it."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit import ConfigurationError
from agentkit.sandbox.base import SandboxLimits
from agentkit.tests.sandbox.conftest import Worker

_MIB = 1024 * 1024


@pytest.mark.parametrize(
    "code",
    [
        "import time\nprint('before')\ntime.sleep(1000)",
        "print('before')\nwhile True: pass",
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        "import os\nos.close(1)\nos.close(2)\nimport time\ntime.sleep(1000)",
        "import os\nos.write(3, b'\\xff' * 4)\nimport time\ntime.sleep(1000)",
    ],
)  # fmt: skip
def test_a_job_that_takes_too_long_is_stopped(hasty_worker: Worker, code: str) -> None:
    seen = hasty_worker.probe(code)
    assert (seen["ending"], seen["reached"]) == ("timed out", []), seen


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("x = bytearray(10**10)", "out of memory"),
        ("x = []\nwhile True: x.append('x' * 10**6 + str(len(x)))", "out of memory"),
        ("print('x' * 10**7)", "too much output"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "too much output"),
        ("import os\nwhile True: os.write(3, b'\\x00\\x0f\\xff\\xff' + b'x' * 10**6)", "too much output"),
        ("import os\nos._exit(0)", "died"),
        ("import os\nos.abort()", "died"),
        ("import ctypes\nctypes.string_at(0)", "died"),
        ("import os\nos.write(3, b'\\x00\\x00\\x00\\x02{]')", "died"),
        ("import os\nos.write(3, b'\\x00\\x00\\x27\\x10' + b'[' * 10000)", "died"),
        ("import os\nos.write(3, b'\\x00\\x00\\x00\\x0f{\"value\": NaN }')", "died"),
        ("import os\nos.write(3, b'\\x00\\x00\\x00\\x11{\"value\":\"\\\\ud800\"}')", "died"),
        ("import os\nos.close(3)", "died"),
        ("import sys\nsys.exit(3)", "raised"),
        ("raise KeyboardInterrupt", "raised"),
        ("raise BaseException('all')", "raised"),
        ("raise GeneratorExit", "raised"),
        ("class Odd(Exception):\n    def __str__(self): raise SystemExit\nraise Odd", "raised"),
        ("def f(): f()\nf()", "raised"),
        ("1 +", "raised"),
        ("'\\x00'\n\\", "raised"),
        ("import os\nos.fork()", "raised"),
        ("import time, _thread\nwhile True: _thread.start_new_thread(time.sleep, (1000,))", "raised"),
        ("import os\nwhile True: os.dup(0)", "raised"),
        ("open('big', 'wb').truncate(10**10)", "raised"),
        ("import sys\nsys.stdout.close()\n6 * 7", "finished"),
        ("import os\nos.close(0)\nos.close(1)\nos.close(2)\n6 * 7", "finished"),
        ("import atexit, time\natexit.register(time.sleep, 1000)", "finished"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()", "finished"),
        ("import sys\nsys.stdin.read()", "finished"),
        ("import tempfile\nwith tempfile.TemporaryFile() as f: f.write(b'x')", "finished"),
        ("import asyncio\nasyncio.run(asyncio.to_thread(int))", "finished"),
        ("import ssl, sqlite3, decimal, zoneinfo, hashlib, random, statistics, csv, re, datetime", "finished"),
    ],
)  # fmt: skip
def test_a_job_ends_as_it_should(worker: Worker, code: str, ending: str) -> None:
    seen = worker.probe(code)
    assert (seen["ending"], seen["reached"]) == (ending, []), seen


def _files(code: str) -> str:
    """Writes all it can, as files of 1 MiB and then as empty ones; that it cannot go on is no error of its own."""
    loop = f"import os\nkept = []\ntry:\n    for n in map(str, range(10**6)):\n{code}"
    return f"{loop}\nexcept OSError as error:\n    print(error)\nraise SystemExit"


@pytest.mark.parametrize(
    "code",
    [
        _files("        open(n, 'wb').write(bytes(2**20))"),
        _files("        open(n, 'wb')"),
        _files("        kept.append(open(n, 'wb', 0))\n        kept[-1].write(bytes(2**20))\n        os.unlink(n)"),
    ],
    ids=["large files", "many files", "deleted files"],
)
def test_files_are_bounded_together(worker: Worker, code: str) -> None:
    seen = worker.probe(code)
    # Where the kernel bounds the folder, the code is told; where it does not, the job is stopped.
    assert seen["ending"] in {"raised", "too many files"}, seen


def test_what_was_printed_before_the_time_was_up_is_known(hasty_worker: Worker) -> None:
    assert hasty_worker.probe("print('before')\nwhile True: pass")["stdout"] == "before\n"


def test_no_more_is_kept_of_the_output_than_may_be(worker: Worker) -> None:
    seen = worker.probe("import os\nos.write(2, b'e' * 50000)\nprint('x' * 10**7)")
    assert len(seen["stdout"]) + len(seen["stderr"]) <= 256 * 1024


def test_a_long_value_is_cut_and_says_so(worker: Worker) -> None:
    assert worker.probe("'x' * 10**6")["value"].endswith("more characters)")


def test_a_forged_answer_is_the_jobs_own(worker: Worker) -> None:
    forged = '{"value": "forged"}'
    code = f"import os, time\nos.write(3, ({len(forged)}).to_bytes(4, 'big') + {forged.encode()!r})\ntime.sleep(1000)"
    assert (worker.probe(code)["value"], worker.probe("6 * 7")["value"]) == ("forged", "42")


def test_nothing_is_left_of_the_job_before(worker: Worker) -> None:
    worker.probe("import builtins\nbuiltins.left = 1\nopen('left', 'w').write('x')")
    seen = worker.probe("import os, builtins\n(hasattr(builtins, 'left'), os.path.exists('left'))")
    assert seen["value"] == "(False, False)"


def test_the_code_inside_is_nobody_with_no_power(worker: Worker) -> None:
    seen = worker.probe(
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "(os.getuid() != 0, os.geteuid() != 0, os.getgid() != 0, 0 in os.getgroups(), "
        "libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0))"
    )
    assert seen["value"] == "(True, True, True, False, 1, 2)"


def test_only_the_environment_that_it_was_given_is_inside(worker: Worker) -> None:
    seen = worker.probe("import os\nsorted(set(os.environ) - {'PWD'})")
    assert seen["value"] == "['HOME', 'LANG', 'MALLOC_ARENA_MAX', 'OPENBLAS_NUM_THREADS', 'TMPDIR', 'TZ']"


def test_installed_packages_are_not_there(worker: Worker) -> None:
    assert worker.probe("import pydantic")["error"].endswith("ModuleNotFoundError: No module named 'pydantic'")


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"memory_bytes": _MIB}, {"threads": 0}, {"files_bytes": -1}, {"open_files": 3}]
)
def test_limits_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SandboxLimits(**wrong)
