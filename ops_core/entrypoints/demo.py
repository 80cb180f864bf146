"""The demo of `ops-core up --demo`: one real task, submitted over REST, its steps shown as they happen."""

from __future__ import annotations

from typing import Final

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.follow import follow
from ops_core.cli.refusals import tell_client_error
from ops_core.cli.terminal import say

AGENT: Final = "assistant"
#: The price is in the handbook, which a real MCP server looks up; the multiplication is a tool's.
GOAL: Final = "Look up the price of a widget in the handbook and multiply it by 12"
#: A machine that needs longer has another problem, which is to be said.
_TIMEOUT_SECONDS: Final = 120.0


def run_demo(url: str, api_key: str | None) -> ExitCode:
    """Submit the demo task, show its steps, print its answer; returns how it ended."""
    from ops_core.client import Client, ClientError

    say("")
    say(f"Demo        ops-core task run {AGENT} '{GOAL}'", style="bold")
    try:
        with Client(url, api_key) as client:
            task = client.tasks.submit(AGENT, GOAL, labels={"demo": "true"}, timeout_seconds=_TIMEOUT_SECONDS)
            say(f"task {task.id}", style="dim")
            return follow(client, task.id, give_up_after=_TIMEOUT_SECONDS + 30)
    except ClientError as error:
        return tell_client_error(error)
