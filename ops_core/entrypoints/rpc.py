"""`ops-core rpc start`: the gRPC door as a process of its own."""

from __future__ import annotations

from ops_core.entrypoints.process import GrpcPort, Host, require_free_port, serve, server_settings


def start(host: Host = None, grpc_port: GrpcPort = None) -> None:
    """Serve gRPC until told to stop."""
    from ops_core.bootstrap.rpc import run_rpc
    from ops_core.settings import require_safe_address, require_shared_queue

    settings = server_settings({"host": host, "grpc_port": grpc_port})
    require_shared_queue(settings)
    require_safe_address(settings)
    require_free_port(settings.host, settings.grpc_port, flag="--grpc-port")
    serve(run_rpc(settings))
