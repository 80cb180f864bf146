"""What `ops-core up` says once it runs: where everything is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from ops_core import __version__
from ops_core.cli.terminal import printable, talk_console
from ops_core.settings import wants_a_key

if TYPE_CHECKING:
    from ops_core.bootstrap.embedded import Embedded
    from ops_core.settings import Settings

_REAL = "for a real one set AGENTKIT_LLM_PROVIDER, AGENTKIT_LLM_MODEL and the vendor's key"


def print_banner(settings: Settings, running: Embedded, *, mcp_servers: Sequence[str]) -> None:
    """Print it on stderr."""
    console = talk_console()
    console.print(
        Text.assemble(("Opspawn Core ", "bold"), (__version__, "bold"), f"   {_how(settings)}"), soft_wrap=True
    )
    for name, text in banner_lines(settings, running, mcp_servers=mcp_servers):
        console.print(Text.assemble((f"{name:<12}", "bold cyan"), printable(text)), soft_wrap=True)


def banner_lines(settings: Settings, running: Embedded, *, mcp_servers: Sequence[str]) -> list[tuple[str, str]]:
    """Name and text of each line, of what really runs."""
    from ops_core.runner.probe import shown_model

    models = sorted({shown_model(agent) for agent in running.agents})
    own = running.url != "http://127.0.0.1:8000"
    return [
        ("API", f"{running.url}/api/v1    docs {running.url}/docs"),
        ("gRPC", running.grpc_address),
        ("Model", _models(models)),
        ("MCP", ", ".join(mcp_servers) or "none"),
        ("Agents", ", ".join(agent.name for agent in running.agents) or f"none: put one into {settings.agents_dir}"),
        ("Access", "wants an API key" if wants_a_key(settings) else "this machine only; no key needed here"),
        (
            "Try",
            f"ops-core task run assistant {shlex.quote('What is 17 * 23?')}" + (f" --url {running.url}" if own else ""),
        ),
    ]


def _how(settings: Settings) -> str:
    from ops_core.settings import masked_url

    path = settings.database_url.removeprefix("sqlite:///")
    store = f"SQLite {path}" if path != settings.database_url else masked_url(settings.database_url)
    return f"embedded: {store}, in-process queue, {settings.concurrency} agents at once"


def _models(models: Sequence[str]) -> str:
    shown = ", ".join(models)
    if any(model.startswith("demo/") for model in models):
        return f"{shown} (scripted, offline, free); {_REAL}"
    return shown
