"""MCP servers as desktop clients write them down: the `mcpServers` JSON, read strictly and its variables expanded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

from agentkit.errors import ConfigurationError
from agentkit.transcript import JsonObject

#: A file of server definitions is a few kilobytes; anything near this is another file.
_MAX_FILE_BYTES = 1_000_000
#: Longest `timeout` of a server, in seconds. Clients that count in milliseconds write larger numbers.
_MAX_TIMEOUT_SECONDS = 3600.0
#: A server's name begins the names of its tools (`server.tool`), so it has no dot.
_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE = re.compile(r"\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{[^}]*\}?")

#: What desktop clients write and we have no use for: read, and left alone.
_IGNORED_KEYS = frozenset({"alwaysAllow", "autoApprove", "description"})
_SHARED_KEYS = frozenset({"type", "disabled", "timeout"}) | _IGNORED_KEYS
_STDIO_KEYS = frozenset({"command", "args", "env", "cwd"})
_HTTP_KEYS = frozenset({"url", "headers"})
_HTTP_TYPES = ("http", "streamable-http")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StdioServer:
    """A server that is started as a child process and spoken to over its stdin and stdout."""

    name: str
    command: str
    args: tuple[str, ...] = ()
    #: Added to the few harmless variables a child gets (PATH, HOME, …); nothing else is inherited.
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    #: Longest a call may take, in seconds; None leaves it to the caller.
    timeout_seconds: float | None = None

    def __repr__(self) -> str:
        # Arguments and variables may hold secrets: they are counted or named, never shown.
        return (
            f"StdioServer(name={self.name!r}, command={self.command!r}, args=<{len(self.args)}>, "
            f"env={sorted(self.env)}, cwd={self.cwd!r}, timeout_seconds={self.timeout_seconds})"
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HttpServer:
    """A server that is reached over streamable HTTP."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Longest a call may take, in seconds; None leaves it to the caller.
    timeout_seconds: float | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: the part of the URL that holds no secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def __repr__(self) -> str:
        # Path, query and header values may hold secrets.
        return (
            f"HttpServer(name={self.name!r}, origin={self.origin!r}, headers={sorted(self.headers)}, "
            f"timeout_seconds={self.timeout_seconds})"
        )


McpServer: TypeAlias = StdioServer | HttpServer


def read_mcp_file(path: Path, environment: Mapping[str, str]) -> dict[str, McpServer]:
    """The servers that a JSON file defines.

    Raises:
        ConfigurationError: the file cannot be read, is not JSON (with the line), or defines a server wrongly.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_FILE_BYTES:
            raise ConfigurationError(f"{path} is {len(raw)} bytes long; at most {_MAX_FILE_BYTES} are read")
        document = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_object_without_duplicates)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (_DuplicateKey, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must hold a JSON object with the key mcpServers")
    try:
        return load_mcp_servers(cast(JsonObject, document), environment)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def load_mcp_servers(document: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, McpServer]:
    """The servers of a document with the key `mcpServers`, or `servers` as VS Code writes it, by name.

    Other keys beside it are left alone, since clients keep further settings in the same file. A server that is
    `disabled` is left out, its variables unread. `timeout` is in seconds.

    Raises:
        ConfigurationError: names the server, the field and what to change.
    """
    return {
        name: _server(name, definition, environment)
        for name, definition in _definitions(document).items()
        if not _is_disabled(name, definition)
    }


def _definitions(document: Mapping[str, Any]) -> dict[str, Any]:
    found = [key for key in ("mcpServers", "servers") if key in document]
    if len(found) != 1:
        said = "both mcpServers and servers; keep one" if found else "no mcpServers, the object of servers by name"
        raise ConfigurationError(f"MCP configuration has {said}")
    definitions = document[found[0]]
    if not isinstance(definitions, dict):
        raise ConfigurationError(f"{found[0]} must be an object of servers by name")
    return definitions


def _is_disabled(name: str, definition: object) -> bool:
    if not _SERVER_NAME.fullmatch(name):
        raise ConfigurationError(
            f"MCP server {name!r}: a name is 1 to 64 letters, digits, _ or -, since it begins its tools' names"
        )
    if not isinstance(definition, dict):
        raise _wrong(name, None, "must be an object with either command or url")
    disabled = definition.get("disabled", False)
    if not isinstance(disabled, bool):
        raise _wrong(name, "disabled", "must be true or false")
    return disabled


def _server(name: str, definition: JsonObject, environment: Mapping[str, str]) -> McpServer:
    if ("command" in definition) == ("url" in definition):
        said = "has both command and url; keep one" if "url" in definition else "needs either command or url"
        raise _wrong(name, None, said)
    is_stdio = "command" in definition
    _check_keys(name, definition, is_stdio=is_stdio)
    _check_type(name, definition, is_stdio=is_stdio)

    def expand(key: str, text: str) -> str:
        return _expanded(name, key, text, environment)

    timeout_seconds = _timeout_seconds(name, definition)
    if is_stdio:
        return StdioServer(
            name=name,
            command=expand("command", _text(name, "command", definition["command"])),
            args=_texts(name, "args", definition.get("args", []), expand),
            env=_text_by_name(name, "env", definition.get("env", {}), expand),
            cwd=expand("cwd", _text(name, "cwd", definition["cwd"])) if definition.get("cwd") is not None else None,
            timeout_seconds=timeout_seconds,
        )
    return HttpServer(
        name=name,
        url=_http_url(name, expand("url", _text(name, "url", definition["url"]))),
        headers=_headers(name, _text_by_name(name, "headers", definition.get("headers", {}), expand)),
        timeout_seconds=timeout_seconds,
    )


def _check_keys(name: str, definition: JsonObject, *, is_stdio: bool) -> None:
    allowed = _SHARED_KEYS | (_STDIO_KEYS if is_stdio else _HTTP_KEYS)
    for key in definition:
        if key not in allowed:
            known = ", ".join(sorted(allowed - _IGNORED_KEYS))
            raise _wrong(name, key, f"is not a key of {'a stdio' if is_stdio else 'an HTTP'} server; known: {known}")


def _check_type(name: str, definition: JsonObject, *, is_stdio: bool) -> None:
    expected = ("stdio",) if is_stdio else _HTTP_TYPES
    kind = definition.get("type")
    if kind == "sse":
        raise _wrong(name, "type", "sse is no longer a transport of MCP; ask for the server's streamable HTTP address")
    if kind is not None and kind not in expected:
        raise _wrong(name, "type", f"is {kind!r}; with {'command' if is_stdio else 'url'} it is {expected[0]!r}")


def _timeout_seconds(name: str, definition: JsonObject) -> float | None:
    value = definition.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_TIMEOUT_SECONDS:
        hint = f"must be seconds, more than 0 and at most {_MAX_TIMEOUT_SECONDS:.0f}, not {value!r}"
        raise _wrong(name, "timeout", hint)
    return float(value)


def _text(name: str, key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, key, "must be a text that is not empty")
    if "\0" in value:
        raise _wrong(name, key, "must not contain a NUL character")
    return value


def _texts(name: str, key: str, value: object, expand: Callable[[str, str], str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise _wrong(name, key, "must be a list of texts")
    return tuple(expand(f"{key}[{place}]", item) for place, item in enumerate(value))


def _text_by_name(name: str, key: str, value: object, expand: Callable[[str, str], str]) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(name, key, "must be an object of texts by name")
    for entry, text in value.items():
        if not isinstance(text, str) or "\0" in text:
            raise _wrong(name, f"{key}.{entry}", "must be a text (numbers and booleans in quotes)")
        if not entry or "=" in entry or "\0" in entry:
            raise _wrong(name, key, f"{entry!r} is not a name")
    return {entry: expand(f"{key}.{entry}", text) for entry, text in value.items()}


def _headers(name: str, headers: dict[str, str]) -> dict[str, str]:
    for entry, text in headers.items():
        if not _HEADER_NAME.fullmatch(entry):
            raise _wrong(name, "headers", f"{entry!r} is not a name")
        if not text.isprintable() or not text.isascii():
            raise _wrong(name, f"headers.{entry}", "must be printable ASCII on one line")
    return headers


def _http_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _wrong(name, "url", "must be an http:// or https:// address with a host")
    return url


def _expanded(server: str, key: str, text: str, environment: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        variable = match["name"]
        if variable is None:
            raise _wrong(
                server, key, f"{match[0]} cannot be expanded; write ${{VAR}}, ${{VAR:-default}} or ${{env:VAR}}"
            )
        value = environment.get(variable)
        default: str | None = match["default"]
        if default is not None:
            # As in a shell: the default also stands in for a variable that is set but empty.
            return value or default
        if value is None:
            raise _wrong(server, key, f"variable {variable} is not set; set it, or write ${{{variable}:-default}}")
        return value

    return _VARIABLE.sub(value_of, text)


def _wrong(server: str, key: str | None, said: str) -> ConfigurationError:
    place = f"MCP server {server!r}" + (f", {key}" if key else "")
    return ConfigurationError(f"{place}: {said}")


class _DuplicateKey(ValueError):
    """A JSON object names a key twice; the first value would be lost silently."""


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise _DuplicateKey(f"the key {twice!r} is there twice")
    return result
