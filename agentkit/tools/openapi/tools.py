"""Tools from an OpenAPI document: each operation is one, and a call of it is an HTTP request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from agentkit.errors import BadToolArguments, ConfigurationError, ToolFailed, ToolTimeout, UnknownTool
from agentkit.observations import doubt, said_by
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.tools.name_patterns import NamePatterns
from agentkit.tools.openapi.answer import Secrets, told_of
from agentkit.tools.openapi.document import OpenApiDocument, Unusable, origin
from agentkit.tools.openapi.operations import HEADER_NAME, Hidden, Operation, SkippedOperation, name_of, read_operation
from agentkit.tools.openapi.request import ApiRequest, request_of
from agentkit.transcript import ToolCall, ToolResult

if TYPE_CHECKING:
    import httpx2

logger = logging.getLogger(__name__)

#: Not compressed: an answer is read up to a size, and a few bytes may unpack to very many.
_DEFAULT_HEADERS = {"Accept": "application/json, */*;q=0.5", "Accept-Encoding": "identity"}
#: What stands in these is no secret.
_PLAIN_HEADERS = frozenset(("accept", "accept-encoding", "accept-language", "connection", "content-type", "user-agent"))
_MOST_REDIRECTS = 3
_CONNECT_SECONDS = 10.0


class OpenApiTools(BaseToolManager):
    """One tool for each operation of an API: its `operationId`, or method and path (`get_pets_petId`).

    Parameters are the arguments, a JSON body is the argument `body`; the schema is that of the document. GET and HEAD
    have no side effect; PUT and DELETE are made again when nobody knows what came of them, as HTTP allows; of POST and
    PATCH a person decides, and both carry the call's key as `Idempotency-Key`. Requests go to the host of the base URL
    only; redirects are followed for GET and HEAD, within it. What the developer sends along (`headers`, the client's
    own headers and query) is no argument of any tool, and is cut from what an API says.

    An operation that cannot be a tool (a body that is no JSON, a required cookie, a reference outside the document) is
    left out, logged and listed in `skipped`. Cookies are not kept from call to call.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        include: Iterable[str] = "*",
        result_bytes: int = 64_000,
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        """
        Args:
            document: Version 3.0 or 3.1, as read from JSON or YAML.
            base_url: Where the API is; None for the document's first server.
            headers: Sent with each request; credentials.
            include: Patterns of the names of operations that become tools.
            result_bytes: Of a body that are read; the rest is cut off.
            client: Makes the requests, with its own transport, proxy and auth; whoever made it closes it.

        Raises:
            ConfigurationError: the document, the base URL or a header is no good, or no operation can be a tool.
        """
        self._document = OpenApiDocument(document, base_url)
        self._headers = dict(headers or {})
        _require_sendable(self._headers)
        self._result_bytes = result_bytes
        self._client = client
        self._own_client: httpx2.AsyncClient | None = None
        self._making = asyncio.Lock()
        known = {**(dict(client.headers) if client is not None else {}), **self._headers}
        query = dict(client.params) if client is not None else {}
        secrets = [value for name, value in known.items() if name.lower() not in _PLAIN_HEADERS]
        self._secrets = Secrets([*secrets, *query.values()])
        hidden = Hidden(
            headers=frozenset(map(str.lower, known)) | self._document.secret_names("header"),
            query=frozenset(map(str.lower, query)) | self._document.secret_names("query"),
        )
        self._operations, self.skipped = _read(self._document, NamePatterns(include), hidden)

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(operation.spec for operation in self._operations.values())

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Make the request.

        Raises:
            UnknownTool, BadToolArguments: nothing was sent.
            ToolFailed: the API cannot be reached, or its answer is no success.
            ToolTimeout: it did not answer in time.
        """
        if (operation := self._operations.get(call.name)) is None:
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        request = request_of(operation, call.arguments, context.idempotency_key)
        try:
            async with asyncio.timeout(context.timeout_seconds):
                async with self._answer(operation, request, context.timeout_seconds) as response:
                    text = await told_of(response, operation.spec, self._secrets, self._result_bytes)
        except TimeoutError:
            raise ToolTimeout(
                f"The tool {call.name!r} had no answer from the API within {context.timeout_seconds:g} s."
            ) from None
        return ToolResult(call.id, call.name, text)

    async def aclose(self) -> None:
        client, self._own_client = self._own_client, None
        if client is not None:
            await client.aclose()

    @asynccontextmanager
    async def _answer(
        self, operation: Operation, request: ApiRequest, timeout_seconds: float
    ) -> AsyncIterator[httpx2.Response]:
        """The answer whose body is not yet read.

        Raises:
            ToolFailed: there is none, or it breaks off.
        """
        client = self._client or await self._made_client()
        import httpx2

        try:
            response = await self._sent(client, self._built(client, request, timeout_seconds))
            try:
                yield response
            finally:
                await response.aclose()
        except httpx2.HTTPError as error:
            was_sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            if was_sent and isinstance(error, httpx2.TimeoutException):
                raise TimeoutError from error
            said = self._secrets.hidden_in(said_by(error))
            unsure = doubt(operation.spec) if was_sent else ""
            raise ToolFailed(f"The tool {operation.spec.name!r} cannot reach the API: {said}.{unsure}") from None

    def _built(self, client: httpx2.AsyncClient, request: ApiRequest, timeout_seconds: float) -> httpx2.Request:
        """Raises:
        BadToolArguments: they make an address that is none, or none of the API.
        """
        import httpx2

        headers = httpx2.Headers(_DEFAULT_HEADERS)
        headers.update(self._headers)
        # No argument of a tool is a header of the developer; what remains is the call's own.
        headers.update(request.headers)
        timeout = httpx2.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS))
        try:
            built = client.build_request(
                request.method, request.url, headers=headers, content=request.content, timeout=timeout
            )
            # The client's own query is kept, and ours is written as OpenAPI wants it, which no library does.
            query = b"&".join(part for part in (request.query.encode(), built.url.query) if part)
            built.url = built.url.copy_with(query=query or None)
        except httpx2.InvalidURL as error:
            raise BadToolArguments(f"The arguments make no address that can be asked: {error}.") from None
        if origin(str(built.url)) != origin(self._document.base_url):
            raise BadToolArguments("The arguments make an address of another host than the API's.")
        return built

    async def _sent(self, client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        """The answer, after redirects within the API."""
        for _ in range(_MOST_REDIRECTS):
            response = await client.send(request, stream=True, follow_redirects=False)
            following = response.next_request
            if following is None or request.method not in ("GET", "HEAD") or not _is_within(following, request):
                return response
            await response.aclose()
            request = following
        return await client.send(request, stream=True, follow_redirects=False)

    async def _made_client(self) -> httpx2.AsyncClient:
        """Made with the first call, in a thread: to import the library and to read certificates takes long."""
        async with self._making:
            if self._own_client is None:
                with_certificates = self._document.base_url.startswith("https:")
                self._own_client = await asyncio.to_thread(_new_client, with_certificates)
        return self._own_client


def _new_client(with_certificates: bool) -> httpx2.AsyncClient:
    import httpx2

    # One jar would mix the sessions of all runs.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx2.AsyncClient(verify=with_certificates, cookies=no_cookies, limits=limits)


def _read(
    document: OpenApiDocument, include: NamePatterns, hidden: Hidden
) -> tuple[dict[str, Operation], tuple[SkippedOperation, ...]]:
    """Raises:
    ConfigurationError: no operation can be a tool.
    """
    operations: dict[str, Operation] = {}
    skipped: list[SkippedOperation] = []
    names: list[str] = []
    for method, path, described in document.operations():
        names.append(name := name_of(method, path, described))
        if not include.fit(name):
            continue
        try:
            if (other := operations.get(name)) is not None:
                raise Unusable(f"{other} has the same name")
            operations[name] = read_operation(document, method, path, described, hidden)
        except Unusable as error:
            skipped.append(SkippedOperation(name, str(error)))
            logger.warning("openapi operation %s %s is no tool: %s", method.upper(), path[:200], error)
    if not operations:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in skipped[:5])
        raise ConfigurationError(
            f"no operation of the OpenAPI document can be a tool: {reasons}"
            if skipped
            else f"no operation of the OpenAPI document fits {include}; there are {', '.join(names[:50]) or 'none'}"
        )
    return operations, tuple(skipped)


def _is_within(following: httpx2.Request, request: httpx2.Request) -> bool:
    return origin(str(following.url)) == origin(str(request.url)) and not following.url.userinfo


def _require_sendable(headers: Mapping[str, str]) -> None:
    """Raises:
    ConfigurationError: one cannot be sent. The HTTP library would say so too, with its value in the message.
    """
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{name[:100]!r} is no name of a header")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ConfigurationError(f"the header {name} holds a line break, an outer blank or a non-ASCII character")
