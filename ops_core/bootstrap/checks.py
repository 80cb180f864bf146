"""What a submission is checked against, by the settings."""

from __future__ import annotations

from collections.abc import Callable

from ops_core.domain.agent import AgentDefinition
from ops_core.runner.probe import check_model
from ops_core.services.limits import TaskLimits
from ops_core.settings import Settings


def task_limits(settings: Settings) -> TaskLimits:
    return TaskLimits(
        max_goal_chars=settings.max_goal_chars,
        max_input_bytes=settings.max_body_bytes,
        max_json_depth=settings.max_json_depth,
        max_batch=settings.max_batch,
        max_wait_seconds=settings.max_wait_seconds,
    )


def model_check_of(settings: Settings) -> Callable[[AgentDefinition], str | None]:
    """Under a load test no model is asked, so none needs a key."""
    return check_model if settings.load_test_mock_agent_delay_ms is None else lambda _: None
