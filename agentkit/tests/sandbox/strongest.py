"""A sandbox of this process for the tests, or a loud word that there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agentkit.errors import ConfigurationError
from agentkit.sandbox.base import SandboxLimits
from agentkit.sandbox.pool import SandboxPool
from agentkit.sandbox.select import open_sandbox
from agentkit.tests.sandbox.conftest import unavailable


@asynccontextmanager
async def sandbox_of_tests(limits: SandboxLimits | None = None, **options: Any) -> AsyncIterator[SandboxPool]:
    """The strongest that works here."""
    opening = open_sandbox(limits or SandboxLimits(seconds=30), **options)
    try:
        sandbox = await opening.__aenter__()
    except ConfigurationError as error:
        unavailable(str(error))
    try:
        yield sandbox
    finally:
        await opening.__aexit__(None, None, None)
