"""`ops-core api start`: the HTTP door as a process of its own."""

from __future__ import annotations

from ops_core.entrypoints.process import Host, Port, require_free_port, serve, server_settings


def start(host: Host = None, port: Port = None) -> None:
    """Serve REST until told to stop."""
    from ops_core.bootstrap.api import run_api
    from ops_core.settings import require_safe_address, require_shared_queue

    settings = server_settings({"host": host, "port": port})
    require_shared_queue(settings)
    require_safe_address(settings)
    require_free_port(settings.host, settings.port, flag="--port")
    serve(run_api(settings))
