"""An OpenAPI document as it is read: its version, where its API is, and what its references point to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from agentkit.errors import ConfigurationError

#: OPTIONS and TRACE are none: nobody needs them, and TRACE sends back the credentials that it was sent.
METHODS = ("get", "head", "put", "delete", "post", "patch")
_VERSION = re.compile(r"3\.([01])(\.\d+)?")
_VARIABLE = re.compile(r"\{([^{}]+)\}")
#: References to references.
_MOST_HOPS = 20


class Unusable(ValueError):
    """A part of the document cannot be used; the message says why. Never leaves this package."""


class OpenApiDocument:
    """A document of version 3.0 or 3.1. Nothing that it refers to elsewhere is fetched."""

    def __init__(self, document: Mapping[str, Any], base_url: str | None = None) -> None:
        """
        Raises:
            ConfigurationError: it is none, has no paths, or nobody says where its API is.
        """
        version = _VERSION.fullmatch(str(document.get("openapi", ""))) if isinstance(document, Mapping) else None
        if version is None:
            raise ConfigurationError("not an OpenAPI document of version 3.0 or 3.1")
        self._document = document
        #: Whether schemas are in the dialect of 3.0, which is no JSON Schema.
        self.is_3_0 = version[1] == "0"
        self.base_url = checked_base_url(base_url if base_url is not None else self._first_server(document))
        if not isinstance(document.get("paths"), Mapping):
            raise ConfigurationError("the OpenAPI document has no paths")

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Method, path and operation, in the order of the document; parameters and servers of the path included."""
        for path, item in self._document["paths"].items():
            try:
                item = self.resolved(item)
            except Unusable:
                continue
            for method in METHODS:
                if isinstance(operation := item.get(method), Mapping):
                    shared = {key: item[key] for key in ("servers",) if key in item}
                    parameters = [*_listed(item, "parameters"), *_listed(operation, "parameters")]
                    yield method, str(path), {**shared, **operation, "parameters": parameters}

    def resolved(self, node: object) -> Mapping[str, Any]:
        """The object, or the one that its `$ref` leads to.

        Raises:
            Unusable: it leads to no object.
        """
        for _ in range(_MOST_HOPS):
            if not isinstance(node, Mapping):
                raise Unusable(f"{_shown(node)} stands where an object should")
            if "$ref" not in node:
                return node
            node = self.target(node["$ref"])
        raise Unusable("a $ref leads to itself")

    def target(self, reference: object) -> Any:
        """What a `$ref` points to, within this document.

        Raises:
            Unusable: it points elsewhere, or to nothing.
        """
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise Unusable(f"$ref {_shown(reference)} does not point into this document; others are not fetched")
        node: Any = self._document
        for part in reference[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(name)] if isinstance(node, Sequence) and not isinstance(node, str) else node[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise Unusable(f"$ref {_shown(reference)} points to nothing") from None
        return node

    def secret_names(self, place: str) -> frozenset[str]:
        """Names of the headers or query parameters that carry an API key, in lower case."""
        components = self._document.get("components")
        schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
        return frozenset(
            str(scheme.get("name", "")).lower()
            for scheme in (schemes.values() if isinstance(schemes, Mapping) else ())
            if isinstance(scheme, Mapping) and scheme.get("type") == "apiKey" and scheme.get("in") == place
        )

    def base_of(self, operation: Mapping[str, Any]) -> str:
        """Where this operation is called.

        Raises:
            Unusable: on another host than the API.
        """
        if not (servers := _listed(operation, "servers")):
            return self.base_url
        try:
            own = checked_base_url(urljoin(f"{self.base_url}/", _server_url(servers[0])))
        except ConfigurationError as error:
            raise Unusable(str(error)) from error
        if origin(own) != origin(self.base_url):
            raise Unusable(f"it is served by another host, {_shown(own)}")
        return own

    def _first_server(self, document: Mapping[str, Any]) -> str:
        servers = _listed(document, "servers")
        return _server_url(servers[0]) if servers else ""


def checked_base_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ConfigurationError: it is none that paths can be added to.
    """
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
        # A brace is what is left of a variable without a default.
        is_good = is_web and url.isprintable() and not {*url} & {*" {}\\"}
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigurationError(
            f"an OpenAPI document whose servers begin with {_shown(url)} does not say where its API is: "
            "give base_url, such as https://host/path"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("the base URL of an API must hold no credentials: give them in headers")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"the base URL {_shown(url)} must have no query and no fragment")
    return url.rstrip("/")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _server_url(server: object) -> str:
    """With the defaults of its variables."""
    if not isinstance(server, Mapping):
        return ""
    variables = server.get("variables")

    def default(match: re.Match[str]) -> str:
        variable = variables.get(match[1]) if isinstance(variables, Mapping) else None
        return str(variable.get("default", match[0])) if isinstance(variable, Mapping) else match[0]

    return _VARIABLE.sub(default, str(server.get("url", "")))


def _listed(node: Mapping[str, Any], key: str) -> list[Any]:
    value = node.get(key)
    return list(value) if isinstance(value, list | tuple) else []


def _shown(value: object) -> str:
    return repr(value)[:200]
