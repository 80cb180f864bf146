"""A network on which every address is one local server, and names mean what a test says: nothing leaves the machine."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

import httpcore2

from agentkit.security.addresses import IpAddress

#: An address that is public; on the diverted network it leads to the local server as well.
PUBLIC = "93.184.215.14"


class AllowEverything:
    """The guard switched off."""

    def check_host(self, host: str, port: int) -> None:
        return

    def check_address(self, host: str, address: IpAddress) -> None:
        return


class Names:
    """Each name's answers, one per lookup, the last one for ever; numbers are read as the operating system does."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        self._answers = answers or {}
        self.lookups: list[str] = []

    async def addresses(self, host: str, port: int) -> Sequence[IpAddress]:
        self.lookups.append(host)
        if (answers := self._answers.get(host.lower().rstrip("."))) is not None:
            return [ip_address(each) for each in answers[min(self.lookups.count(host), len(answers)) - 1]]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [ip_address(str(address[0])) for *_, address in found]


class DivertedNetwork(httpcore2.AsyncNetworkBackend):
    """Notes the address that was to be connected to, and connects to the local server instead."""

    def __init__(self, port: int, *, dead: Iterable[str] = ()) -> None:
        self._port = port
        self._dead = frozenset(dead)
        self._inner = httpcore2.AnyIOBackend()
        self.connected: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        ip_address(host)  # names are not looked up here
        self.connected.append(f"{host}:{port}")
        if host in self._dead:
            raise httpcore2.ConnectError("nobody answers")
        return await self._inner.connect_tcp("127.0.0.1", self._port, timeout)
