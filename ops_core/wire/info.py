"""What an installation says of itself, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ops_core.services.limits import TaskLimits
from ops_core.wire.tasks import RESPONSE

#: What a client can rely on beyond the plain operations. Only ever grows.
FEATURES = ("batch-submit", "idempotency", "retry-from-journal", "server-sent-events", "wait")

INFO_EXAMPLE: dict[str, Any] = {
    "version": "0.1.0",
    "api": "v1",
    "features": list(FEATURES),
    "limits": {
        "max_body_bytes": 1_000_000,
        "max_goal_chars": 100_000,
        "max_json_depth": 32,
        "max_batch": 500,
        "max_page": 200,
        "max_wait_seconds": 60,
        "max_timeout_seconds": 31_622_400,
        "max_attempts": 100,
        "max_labels": 32,
    },
}


class LimitsOut(BaseModel):
    """Bounds on requests."""

    model_config = RESPONSE

    max_body_bytes: int
    max_goal_chars: int
    max_json_depth: int
    max_batch: int
    max_page: int
    max_wait_seconds: float
    max_timeout_seconds: float
    max_attempts: int
    max_labels: int


class InfoOut(BaseModel):
    """Version, features and limits."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [INFO_EXAMPLE]})

    version: str
    api: str = "v1"
    features: list[str] = Field(default_factory=lambda: list(FEATURES))
    limits: LimitsOut

    @staticmethod
    def of(version: str, limits: TaskLimits, *, max_body_bytes: int) -> InfoOut:
        shown = {name: getattr(limits, name) for name in LimitsOut.model_fields if name != "max_body_bytes"}
        return InfoOut(version=version, limits=LimitsOut(max_body_bytes=max_body_bytes, **shown))
