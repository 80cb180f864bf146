"""What runs agents, for workers and for a task that runs alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ops_core.bootstrap.checks import model_check_of, task_limits
from ops_core.ports import NudgeBus, Ring
from ops_core.runner.build_agent import AgentBuilder
from ops_core.runner.children import Children
from ops_core.runner.live_text import LiveTextHooks
from ops_core.runner.mcp_config import load_mcp_servers
from ops_core.runner.run_task import TaskRunner
from ops_core.runner.tool_catalog import load_tool_catalog
from ops_core.services.submission_check import SubmissionCheck
from ops_core.settings import Settings
from ops_core.storage.store import Store

MCP_FILE = "mcp.json"


def find_mcp_config(settings: Settings) -> Path | None:
    """The file of MCP servers: the one that is set, else `mcp.json` beside the agent files or in this folder."""
    if settings.mcp_config is not None:
        return settings.mcp_config
    places = (settings.agents_dir / MCP_FILE, Path(MCP_FILE))
    return next((place for place in places if place.is_file()), None)


def agent_builder(settings: Settings) -> AgentBuilder:
    return AgentBuilder(
        tools=load_tool_catalog().sets,
        mcp_servers=load_mcp_servers(find_mcp_config(settings), os.environ),
        mock_delay_ms=settings.load_test_mock_agent_delay_ms,
    )


def task_runner(
    settings: Settings,
    store: Store,
    nudges: NudgeBus,
    builder: AgentBuilder,
    *,
    announce: Callable[[Sequence[Ring]], None],
) -> TaskRunner:
    return TaskRunner(
        runs=store,
        agents=store,
        builder=builder,
        children=_children(settings, store),
        announce=announce,
        live=partial(LiveTextHooks, nudges=nudges, texts=store),
    )


def _children(settings: Settings, store: Store) -> Children:
    check = SubmissionCheck(
        tasks=store,
        agents=store,
        limits=task_limits(settings),
        model_check=model_check_of(settings),
        clock=lambda: datetime.now(UTC),
    )
    return Children(tasks=store, agents=store, check=check, max_depth=settings.max_depth)
