"""`ops-core doctor`: looks at everything a start needs, and says of each thing whether it is well and what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.text import Text

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.output import Output, OutputFormat, write_table, write_value
from ops_core.cli.terminal import say
from ops_core.entrypoints.process import is_listening
from ops_core.errors import ConfigurationInvalid, OpsCoreError

if TYPE_CHECKING:
    from ops_core.domain.agent import AgentDefinition
    from ops_core.settings import Settings

_BROKER_SECONDS: Final = 10.0
_OLDEST_PYTHON: Final = (3, 11)


class State(StrEnum):
    """How well a thing is."""

    ok = "ok"
    #: It will do for now, or it is nobody's fault.
    warn = "warn"
    #: Something will not work.
    fail = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one thing found."""

    check: str
    state: State
    detail: str
    #: What to do about it; empty when it is well.
    advice: str = ""


def doctor(output: Output = OutputFormat.table) -> None:
    """Check settings, store, broker, agent files, models, MCP servers and ports. Exit code 1 when something fails."""
    findings = examine()
    if output is OutputFormat.table:
        _write(findings)
    else:
        write_value([asdict(finding) for finding in findings], output)
    if any(finding.state is State.fail for finding in findings):
        raise typer.Exit(ExitCode.failed)


def examine() -> list[Finding]:
    """Every finding, in the order in which things depend on each other."""
    return list(_examine())


def _examine() -> Iterator[Finding]:
    from ops_core.settings import Settings, export_dotenv, load_settings, unknown_variables
    from ops_core.telemetry import configure_logging

    yield _python()
    try:
        settings = load_settings(Settings)
        export_dotenv()
    except ConfigurationInvalid as error:
        yield from _failed("settings", error, "correct the variable; ops-core config show lists them")
        return
    # Whatever the libraries have to say is in the findings.
    configure_logging(level="error", json_lines=settings.log_json)
    for variable in unknown_variables():
        yield Finding("settings", State.warn, f"{variable} is set and no setting reads it", "check its spelling")
    yield _address(settings)
    yield _database(settings)
    yield _broker(settings)
    yield from _agents(settings)
    yield from _mcp(settings)
    yield _http_port(settings)
    yield _grpc_port(settings)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", State.fail, found, "install Python 3.11 or newer")
    return Finding("python", State.ok, found)


def _address(settings: Settings) -> Finding:
    from ops_core.settings import require_safe_address, wants_a_key

    try:
        require_safe_address(settings)
    except ConfigurationInvalid as error:
        return Finding("settings", State.fail, error.detail, "set OPS_CORE_API_KEY, or OPS_CORE_HOST=127.0.0.1")
    key = "with an API key" if wants_a_key(settings) else "without an API key, for this machine only"
    return Finding("settings", State.ok, f"valid; listens on {settings.host} {key}")


def _database(settings: Settings) -> Finding:
    from ops_core.settings import masked_url
    from ops_core.storage import migrations
    from ops_core.storage.database_url import DatabaseUrl

    shown = masked_url(settings.database_url)
    try:
        url = DatabaseUrl.parse(settings.database_url)
        if url.is_sqlite and not url.sqlite_path.exists():
            return _new_file(shown, url.sqlite_path)
        found, wanted = migrations.current(settings.database_url), migrations.newest()
    except OpsCoreError as error:
        return Finding("database", State.fail, error.detail, "start it, or correct OPS_CORE_DATABASE_URL")
    if migrations.fits(found):
        return Finding("database", State.ok, f"{shown} answers, schema {found}")
    state = f"has schema {found}" if found else "has no schema"
    return Finding("database", State.fail, f"{shown} {state}, this version wants {wanted}", "ops-core db upgrade")


def _new_file(shown: str, path: Path) -> Finding:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("database", State.fail, f"{shown} cannot be made in {folder}", "correct OPS_CORE_DATABASE_URL")
    return Finding("database", State.ok, f"{shown} is not there yet; `ops-core up` makes it")


def _broker(settings: Settings) -> Finding:
    if settings.broker_url == "memory://":
        return Finding("broker", State.ok, "in-process queue (everything in one process with `ops-core up`)")
    try:
        where = asyncio.run(_ping_broker(settings.broker_url))
    except (OpsCoreError, TimeoutError) as error:
        detail = error.detail if isinstance(error, OpsCoreError) else f"no answer within {_BROKER_SECONDS:g} s"
        return Finding("broker", State.fail, detail, "start RabbitMQ, or correct OPS_CORE_BROKER_URL")
    return Finding("broker", State.ok, f"{where} answers")


async def _ping_broker(url: str) -> str:
    from ops_core.broker.by_url import make_doorbell
    from ops_core.settings import masked_url

    doorbell = make_doorbell(url)
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            await doorbell.ping()
    finally:
        await doorbell.aclose()
    return masked_url(url)


def _agents(settings: Settings) -> Iterator[Finding]:
    from ops_core.runner.catalog import load_catalog

    try:
        definitions = load_catalog(settings.agents_dir)
    except ConfigurationInvalid as error:
        yield from _failed("agents", error, "correct the file; ops-core agent check looks at them again")
        return
    folder = settings.agents_dir
    where = f"in {folder}" if folder.is_dir() else f"built in ({folder} is not there)"
    yield Finding("agents", State.ok, f"{len(definitions)} {where}: {', '.join(one.name for one in definitions)}")
    for definition in definitions:
        yield _model(definition)


def _model(definition: AgentDefinition) -> Finding:
    from ops_core.runner.probe import check_model, shown_model

    if problem := check_model(definition):
        return Finding("model", State.fail, problem, "set what is missing where the server starts, or in .env")
    return Finding("model", State.ok, f"{definition.name} asks {shown_model(definition)}")


def _mcp(settings: Settings) -> Iterator[Finding]:
    from ops_core.bootstrap.runner import find_mcp_config
    from ops_core.runner.probe import probe_mcp

    try:
        probes = asyncio.run(probe_mcp(find_mcp_config(settings)))
    except ConfigurationInvalid as error:
        yield from _failed("mcp", error, "correct the file with mcpServers")
        return
    for probe in probes:
        if probe.ok:
            yield Finding("mcp", State.ok, f"{probe.name} lists {len(probe.tools)} tools: {', '.join(probe.tools)}")
        else:
            yield Finding("mcp", State.fail, f"{probe.name}: {probe.detail}", "check its command or URL in mcp.json")


def _http_port(settings: Settings) -> Finding:
    where = f"port {settings.port} (HTTP)"
    if not settings.port or not is_listening(settings.host, settings.port):
        return Finding("ports", State.ok, f"{where} is free")
    if version := our_version(settings):
        return Finding("ports", State.ok, f"{where}: Opspawn Core {version} answers there")
    return Finding(
        "ports", State.warn, f"{where} is taken by something else", "stop it, or choose another OPS_CORE_PORT"
    )


def our_version(settings: Settings) -> str | None:
    """Of the server that listens on our HTTP port, when it is one of ours."""
    from ops_core.client import Client, ClientError, RequestRefused
    from ops_core.settings import own_key

    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound
    try:
        with Client(
            f"http://{host}:{settings.port}", own_key(settings), timeout_seconds=3, sleep=lambda _: None
        ) as client:
            info = client.info()
            return str(info["version"]) if isinstance(info, dict) and "version" in info else None
    except RequestRefused as refused:
        return f"(its answer: {refused.detail})"
    except ClientError:
        return None


def _grpc_port(settings: Settings) -> Finding:
    where = f"port {settings.grpc_port} (gRPC)"
    if not settings.grpc_port or not is_listening(settings.host, settings.grpc_port):
        return Finding("ports", State.ok, f"{where} is free")
    if is_listening(settings.host, settings.port) and our_version(settings):
        return Finding("ports", State.ok, f"{where} is in use, by the same server as it seems")
    return Finding("ports", State.warn, f"{where} is taken", "stop what listens, or choose another OPS_CORE_GRPC_PORT")


def _failed(check: str, error: ConfigurationInvalid, advice: str) -> Iterator[Finding]:
    details = [f"{one.pointer}: {one.detail}" for one in error.problems] or [error.detail]
    for detail in details:
        yield Finding(check, State.fail, detail, advice)


_STYLES = {State.ok: "green", State.warn: "yellow", State.fail: "bold red"}


def _write(findings: list[Finding]) -> None:
    write_table(
        ("CHECK", "", "FOUND"),
        [(one.check, Text(one.state, style=_STYLES[one.state]), one.detail) for one in findings],
    )
    for one in findings:
        if one.advice:
            say(f"{one.state}: {one.check}: {one.detail}", style=_STYLES[one.state])
            say(f"try: {one.advice}")
