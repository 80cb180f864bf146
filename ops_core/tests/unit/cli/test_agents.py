"""Agent commands that ask a server."""

from __future__ import annotations

import json

from ops_core.tests.unit.cli.terminal import Terminal, ok, page
from ops_core.tests.unit.client.fake_server import FakeServer
from ops_core.wire.agents import AGENT_EXAMPLE


def test_agents_are_listed_in_every_form(terminal: Terminal) -> None:
    def listed(*options: str) -> str:
        return terminal.type("agent", "list", *options, server=FakeServer(page(AGENT_EXAMPLE))).out

    assert listed("-q") == "assistant\n"
    assert json.loads(listed("-o", "json")) == [AGENT_EXAMPLE]
    assert "Answers questions" in listed()


def test_an_agent_is_shown_with_its_schema(terminal: Terminal) -> None:
    server = FakeServer(ok(AGENT_EXAMPLE))
    told = terminal.type("agent", "get", "assistant", server=server)
    assert "input_schema" in told.out
    assert server.requests[0].url.path == "/api/v1/agents/assistant"
