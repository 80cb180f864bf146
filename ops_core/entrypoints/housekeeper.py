"""`ops-core housekeeper start`: the loops that make due tasks run and take back lost ones."""

from __future__ import annotations

from ops_core.entrypoints.process import serve, server_settings


def start() -> None:
    """Keep house until told to stop. Any number of them may run at once."""
    from ops_core.bootstrap.housekeeper import run_housekeeper
    from ops_core.settings import require_shared_queue

    settings = server_settings({})
    require_shared_queue(settings)
    serve(run_housekeeper(settings))
