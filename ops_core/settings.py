"""Every setting, typed: where the environment is read, and nowhere else in ops_core."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Flags win over the environment, that over `.env`, that over these defaults."""

    model_config = SettingsConfigDict(
        env_prefix="OPS_CORE_", env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    # store and broker
    database_url: str = Field(
        default="sqlite:///.ops-core/ops.db",
        description="SQLite file (`sqlite:///path`) or PostgreSQL (`postgresql://user@host/db`).",
    )
    broker_url: str = Field(
        default="memory://",
        description="`memory://` for the in-process queue (one process) or `amqp://user:password@host/vhost`.",
    )
    start_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long a process waits at start for the database, with back-off."
    )

    # doors
    host: str = Field(default="127.0.0.1", description="Address that HTTP and gRPC listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="HTTP port.")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="gRPC port.")
    api_key: SecretStr | None = Field(
        default=None, description="When set, every operation wants it. Required for a non-loopback address."
    )
    max_body_bytes: int = Field(default=1_000_000, gt=0, description="Largest request body or gRPC message.")
    max_goal_chars: int = Field(default=100_000, gt=0, description="Longest goal.")
    max_json_depth: int = Field(default=32, gt=0, description="Deepest nesting of a request body.")
    max_batch: int = Field(default=500, gt=0, description="Most tasks in one batch submit.")
    max_wait_seconds: float = Field(default=60.0, gt=0, description="Longest a request may wait for a task.")

    # agents
    agents_dir: Path = Field(default=Path("agents"), description="Folder of agent files (`*.yaml`).")
    mcp_config: Path | None = Field(
        default=None, description="File with `mcpServers` (default: `mcp.json` beside the agents, when it exists)."
    )
    load_test_mock_agent_delay_ms: int | None = Field(
        default=None, ge=0, description="For load tests only: every agent waits this long instead of asking a model."
    )

    # workers
    queues: tuple[str, ...] = Field(default=("default",), description="Queues that workers take tasks from.")
    concurrency: int = Field(default=100, gt=0, le=10_000, description="Agents at once in each worker process.")
    processes: int = Field(default=1, gt=0, le=256, description="Worker processes.")
    lease_seconds: float = Field(default=30.0, ge=1, description="A worker not heard of for this long loses its tasks.")
    max_crashes: int = Field(default=5, gt=0, description="Lost leases after which a task fails.")
    drain_seconds: float = Field(default=10.0, ge=0, description="Time running agents get to reach a step boundary.")
    loop_stall_seconds: float = Field(
        default=30.0, gt=0, description="A worker whose event loop stands still for this long ends itself."
    )

    # housekeeping
    housekeeper_interval_seconds: float = Field(default=1.0, gt=0, description="Pause between housekeeping ticks.")
    ring_again_seconds: float = Field(
        default=10.0, ge=0, description="Age of a ring after which lost tickets are rung again."
    )

    # logs
    log_level: str = Field(default="info", pattern="^(?i:debug|info|warning|error)$", description="debug … error.")
    log_json: bool | None = Field(default=None, description="JSON lines; unset: JSON unless on a terminal.")
