"""The whole system against the vendors' real models; off by default (marker `e2e_live`), each needs its key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops_core.tests.journeys.system import System

pytestmark = pytest.mark.e2e_live

#: Provider, the variables its key may be in, and the model unless `<PROVIDER>_LIVE_MODEL` names another.
VENDORS = [
    ("openai", ("OPENAI_API_KEY",), "gpt-5.4-mini"),
    ("anthropic", ("ANTHROPIC_API_KEY",), "claude-haiku-5-5"),
    ("gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini-3.8-flash"),
    ("openrouter", ("OPENROUTER_API_KEY",), "openai/gpt-5.4-mini"),
]
GOAL = "Look up in the handbook what one Widget Mini costs, and say what twelve of them cost together."


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("provider", "keys", "model"), VENDORS, ids=[vendor[0] for vendor in VENDORS])
def test_a_real_model_answers_through_a_real_mcp_server(
    tmp_path: Path, provider: str, keys: tuple[str, ...], model: str
) -> None:
    if not any(os.environ.get(key) for key in keys):
        pytest.skip(f"{' or '.join(keys)} is not set")
    with System(tmp_path, database_url=f"sqlite:///{tmp_path}/ops.db") as system:
        system.environment |= {
            "AGENTKIT_LLM_PROVIDER": provider,
            "AGENTKIT_LLM_MODEL": os.environ.get(f"{provider.upper()}_LIVE_MODEL", model),
        }
        system.wait_ready(system.start("up", "up"))
        with system.client() as client:
            task = client.tasks.submit("assistant", GOAL)
            done = client.tasks.wait(task.id, timeout_seconds=240)
            tools = [e.payload["name"] for e in client.tasks.past_events(task.id) if e.type == "tool.completed"]
    assert done.status == "completed", done.error
    assert "150" in str(done.result["answer"])
    assert "demo.read" in tools
