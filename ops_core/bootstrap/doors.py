"""What the doors have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ops_core.bootstrap.core import Core
from ops_core.domain.agent import AgentDefinition
from ops_core.domain.caller import DEFAULT_NAMESPACE
from ops_core.errors import ConfigurationInvalid
from ops_core.runner.catalog import load_catalog
from ops_core.settings import Settings
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.api_keys import ApiKey, find_caller, read_api_keys, single_key

_log = get_logger()


def api_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """Raises:
    ConfigurationInvalid: the one key is also in the list.
    """
    listed = read_api_keys(settings.api_keys.get_secret_value()) if settings.api_keys else ()
    if settings.api_key is None:
        return listed
    key = settings.api_key.get_secret_value()
    if find_caller(listed, key) is not None:
        raise ConfigurationInvalid("OPS_CORE_API_KEY is also in the list of OPS_CORE_API_KEYS: take it out of one")
    return (single_key(key), *listed)


def shown_host(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104  not bound here, only shown
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def register_agents(core: Core) -> Sequence[AgentDefinition]:
    definitions = load_catalog(core.settings.agents_dir)
    await core.store.put_agents(DEFAULT_NAMESPACE, definitions)
    for definition in definitions:
        _log.info(LogEvent.agent_registered, agent=definition.name, digest=definition.digest[:12])
    return definitions
