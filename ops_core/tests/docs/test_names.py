"""What the documentation names exists: settings, commands, functions, fields of files."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml

from agentkit.mcp.config import load_mcp_servers
from ops_core.api import queues
from ops_core.domain.event import EventType
from ops_core.domain.task import QUEUE_NAME
from ops_core.entrypoints.main import build_app
from ops_core.settings import FILE_FIELDS, PLATFORM_VARIABLES, ClientSettings, Settings, variable_of
from ops_core.tests.docs.conftest import documented_environment
from ops_core.tests.docs.pages import ROOT, SITE, Block, blocks, blocks_of, command_lines, pages, pages_beside
from ops_core.wire.agent_file import read_agent_file
from ops_core.wire.agent_sections import SECTIONS, AgentFile
from ops_core.wire.queues import QUEUE_EXAMPLE

PAGES = [*pages(), *pages_beside()]
SHELL = [block for page in PAGES for block in blocks_of(page) if block.language in {"bash", "sh"}]
#: Where operators copy variables from.
WITH_VARIABLES = [*PAGES, ROOT / ".env.example", ROOT / "docker-compose.yml", ROOT / "Dockerfile"]
#: Looks like a path, and is the name of a field.
NO_FILES = {"agentkit/idempotency-key"}
#: Of the tests, not of the system.
TEST_VARIABLES = {"OPS_CORE_TEST_REQUIRE_SERVICES"}


@pytest.mark.parametrize("page", WITH_VARIABLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_exists(page: Path) -> None:
    fields = {*Settings.model_fields, *ClientSettings.model_fields}
    known = {variable_of(name) for name in fields} | {f"{variable_of(name)}_FILE" for name in FILE_FIELDS}
    named = set(re.findall(r"\bOPS_CORE_[A-Z0-9_]*[A-Z0-9]\b", page.read_text(encoding="utf-8")))
    assert named - known - TEST_VARIABLES == set()


@pytest.mark.parametrize("page", WITH_VARIABLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_of_agentkit_exists(page: Path) -> None:
    known = set(re.findall(r"AGENTKIT_[A-Z_]*[A-Z]", (ROOT / "agentkit/llm/select.py").read_text(encoding="utf-8")))
    assert set(re.findall(r"\bAGENTKIT_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))) - known == set()


def test_every_setting_is_in_the_reference() -> None:
    text = (SITE / "reference/settings.md").read_text(encoding="utf-8")
    names = {variable_of(name) for name in (*Settings.model_fields, *ClientSettings.model_fields)}
    names |= {name for others in PLATFORM_VARIABLES.values() for name in others}
    assert {name for name in names if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_stop_on_the_road_can_be_imported(page: Path) -> None:
    for file, name in re.findall(r"`((?:agentkit|ops_core)/[\w/]+\.py)::([\w.]+)`", page.read_text(encoding="utf-8")):
        found = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            assert hasattr(found, part), f"{file}::{name}"
            found = getattr(found, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {*re.findall(r"`((?:agentkit|ops_core|protos|scripts|examples|load_tests|alembic|locks)/[\w./-]*)", text)}
    folders = (ROOT, page.parent)
    assert [
        name for name in named - NO_FILES if not any((folder / name.rstrip("/.")).exists() for folder in folders)
    ] == []


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.id)
def test_every_command_has_the_options_it_is_shown_with(block: Block) -> None:
    for words in command_lines(block):
        command = typer.main.get_command(build_app())
        path = "ops-core"
        while (below := getattr(command, "commands", None)) is not None:
            name, *words = words
            assert name in below, f"{block.id}: {path} has no command {name}"
            command, path = below[name], f"{path} {name}"
        command.make_context(path, list(words))


def test_every_event_is_described_with_its_payload() -> None:
    text = (SITE / "reference/events.md").read_text(encoding="utf-8")
    payloads = text.partition("## Payloads")[2]
    assert [kind for kind in EventType if f"| `{kind}` |" not in payloads] == []


def test_every_field_of_an_agent_file_is_described() -> None:
    text = (SITE / "how-to/own-agent.md").read_text(encoding="utf-8")
    fields = [*AgentFile.model_fields]
    fields += [f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields]
    assert [name for name in fields if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("block", [block for block in blocks() if block.language == "yaml"], ids=lambda block: block.id)
def test_every_yaml_shown_is_an_agent_that_loads(block: Block, shown_files: Path) -> None:
    if block.marked("not run"):
        return
    name = block.marked("file")
    assert name is not None, f"{block.id}: YAML is marked with its file, or with why it is none"
    assert read_agent_file(shown_files / name).name == Path(name).stem


def test_the_scaler_asks_for_what_the_server_tells() -> None:
    shown = [block for block in blocks_of(SITE / "how-to/autoscaling.md") if block.language == "yaml"]
    auth, scaled = (document for block in shown for document in yaml.safe_load_all(block.code))
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == auth["metadata"]["name"]
    path, _, name = urlsplit(trigger["metadata"]["url"]).path.rpartition("/")
    assert (path, re.fullmatch(QUEUE_NAME, name) is not None) == (queues.router.prefix, True)
    assert type(QUEUE_EXAMPLE[trigger["metadata"]["valueLocation"]]) is int


@pytest.mark.parametrize("block", [block for block in blocks() if block.language == "json"], ids=lambda block: block.id)
def test_every_json_shown_can_be_read(block: Block) -> None:
    document = json.loads(block.code)
    if "mcpServers" in document:
        assert load_mcp_servers(document, documented_environment())
