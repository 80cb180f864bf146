"""What `up` says once it runs."""

from __future__ import annotations

import pytest

from ops_core.bootstrap.embedded import Embedded
from ops_core.entrypoints.banner import banner_lines
from ops_core.settings import Settings, load_settings

RUNNING = Embedded(url="http://127.0.0.1:8000", grpc_address="127.0.0.1:50051", agents=())
CALLERS = '[{"key": "s3cret", "subject": "ada", "roles": ["approver"]}]'


@pytest.mark.parametrize(
    ("flags", "access"),
    [
        ({}, "this machine only; no key needed here"),
        ({"api_key": "s3cret"}, "wants an API key"),
        ({"api_keys": CALLERS}, "wants an API key"),
    ],
)
def test_says_who_may_come_in_and_no_key(flags: dict[str, object], access: str) -> None:
    lines = dict(banner_lines(load_settings(Settings, flags), RUNNING, mcp_servers=["demo"]))
    assert lines["Access"] == access
    assert "s3cret" not in str(lines)
