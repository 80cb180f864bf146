"""The agents a process registers at start: the built-in ones, and those of the operator's folder."""

from __future__ import annotations

from pathlib import Path

from ops_core.domain.agent import AgentDefinition
from ops_core.wire.agent_file import load_agent_files

#: Agents that are there before anybody has written one; a file of the same name takes an agent's place.
BUILTIN_AGENTS = Path(__file__).parent / "builtin_agents"


def load_catalog(agents_dir: Path) -> list[AgentDefinition]:
    """Every agent, by name.

    Raises:
        AgentFileInvalid: with one problem a mistake, each with file, line and field.
    """
    found = {d.name: d for folder in (BUILTIN_AGENTS, agents_dir) for d in load_agent_files(folder)}
    return [found[name] for name in sorted(found)]
