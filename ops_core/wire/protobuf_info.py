"""What an installation says of itself, as a protobuf message."""

from __future__ import annotations

from ops_core.services.limits import TaskLimits
from ops_core.wire.info import FEATURES
from ops_core.wire.pb.v1 import info_pb2 as pb


def info_message(version: str, limits: TaskLimits, *, max_body_bytes: int) -> pb.GetInfoResponse:
    """Version, features and limits."""
    return pb.GetInfoResponse(
        version=version,
        api="v1",
        features=FEATURES,
        limits=pb.Limits(
            max_body_bytes=max_body_bytes,
            max_goal_chars=limits.max_goal_chars,
            max_json_depth=limits.max_json_depth,
            max_batch=limits.max_batch,
            max_page=limits.max_page,
            max_wait_seconds=limits.max_wait_seconds,
            max_timeout_seconds=limits.max_timeout_seconds,
            max_attempts=limits.max_attempts,
            max_labels=limits.max_labels,
        ),
    )
