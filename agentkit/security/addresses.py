"""Which hosts, ports and addresses a connection may be made to, so that nobody outside can reach what is inside."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Protocol, TypeAlias

from agentkit.errors import AgentkitError, ConfigurationError

IpAddress: TypeAlias = IPv4Address | IPv6Address
_Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


def _networks(*written: str) -> _Networks:
    return tuple(ip_network(each) for each in written)


#: IANA's special purposes, written out: what `ipaddress` calls global differs between releases of Python, and it
#: takes multicast for global.
_SPECIAL_IPV4 = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's platform services, on an address that looks public
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
#: The only part of IPv6 that is handed out to the public internet …
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: … and what is not public within it: protocol assignments with Teredo, documentation, 6to4.
_SPECIAL_IPV6 = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
#: IPv4 as seen from a network that has none: as public as the address inside.
_NAT64 = IPv6Network("64:ff9b::/96")
#: The middle of an address under which some hosts tunnel to the IPv4 address in its last 32 bits.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
#: Where an organisation's own machines are.
_PRIVATE = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7"
)
#: Clouds answer with a machine's credentials here; it is within what is called private.
_METADATA = frozenset(map(IPv6Address, ("fd00:ec2::254", "fd20:ce::254"))) | {IPv4Address("100.100.100.200")}

#: Names that by convention never mean a host on the public internet.
_PRIVATE_SUFFIXES = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "home.arpa",
    "corp",
    "test",
    "invalid",
    "onion",
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: The last label of what an operating system would take for an IPv4 address, as people or attackers spell them.
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_NAME_LENGTH = 253


class DestinationRefused(AgentkitError):
    """A connection was asked for that must not be made."""

    code = "destination_refused"


class DestinationCheck(Protocol):
    """Whoever says where a connection may go. Asked before the name is looked up, and for each address it has."""

    def check_host(self, host: str, port: int) -> None:
        """
        Raises:
            DestinationRefused: this host, spelled as in the URL, must not be asked on this port.
        """

    def check_address(self, host: str, address: IpAddress) -> None:
        """
        Raises:
            DestinationRefused: the host has this address, and must not be connected to.
        """


class HostPolicy:
    """Public hosts on the usual ports, fewer or more as told; everything else is refused.

    Patterns are a name, an address, or `*.example.com` for all names below a name. What is link-local, multicast or
    a cloud's metadata service can be opened by none.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str] | None = None,
        private_hosts: Iterable[str] = (),
        allowed_ports: Collection[int] = (80, 443),
    ) -> None:
        """
        Args:
            allowed_hosts: Only these (and the private ones); each must still be public. None allows all public hosts.
            private_hosts: These may have private addresses, on purpose: an intranet's wiki. Whoever can choose the
                URL can then reach all of it that needs no login.

        Raises:
            ConfigurationError: a pattern is none.
        """
        self._allowed = None if allowed_hosts is None else _patterns(allowed_hosts)
        self._private = _patterns(private_hosts)
        self._ports = frozenset(allowed_ports)

    def check_host(self, host: str, port: int) -> None:
        address = literal_address(host)
        name = _canonical(host)
        if port not in self._ports:
            raise DestinationRefused(f"port {port} is not one of {', '.join(map(str, sorted(self._ports)))}")
        if address is not None:
            self.check_address(host, address)
        is_private = _fits(name, self._private)
        if not is_private and self._allowed is not None and not _fits(name, self._allowed):
            raise DestinationRefused(f"{name!r} is not one of the hosts that may be asked")
        if not is_private and address is None and _is_private_name(name):
            raise DestinationRefused(f"{name!r} does not name a public host")

    def check_address(self, host: str, address: IpAddress) -> None:
        if is_public(address):
            return
        if is_private(address) and _fits(_canonical(host), self._private):
            return
        # Which address it is, is not told: names could be used to map the network from outside.
        raise DestinationRefused(f"{host!r} does not lead to a public address")


def is_public(address: IpAddress) -> bool:
    """Whether the address is one on the public internet, whatever tunnel or translation it is written in."""
    if isinstance(address, IPv4Address):
        return address.is_global and not _within(address, _SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    last = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64:
        return is_public(last)
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP and not is_public(last):
        return False
    return address.is_global and address in _GLOBAL_UNICAST and not _within(address, _SPECIAL_IPV6)


def is_private(address: IpAddress) -> bool:
    """Whether the address is one that an organisation gives its own machines, this machine included."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    return _within(address, _PRIVATE) and address not in _METADATA


def literal_address(host: str) -> IpAddress | None:
    """The address that the host of a URL is; None when it is a name.

    Raises:
        DestinationRefused: it is neither, or an address in a spelling that different programs read differently.
    """
    lowered = host.lower().removeprefix("[").removesuffix("]")
    if ":" in lowered:
        return _ipv6(lowered)
    if _NUMBER.fullmatch(lowered.rstrip(".").rpartition(".")[2]):
        return _ipv4(lowered)
    if len(lowered) > _NAME_LENGTH + 1 or not _NAME.fullmatch(lowered.removesuffix(".")):
        raise DestinationRefused(f"{host[:_NAME_LENGTH]!r} is not the name of a host")
    return None


def _ipv6(host: str) -> IPv6Address:
    try:
        address = IPv6Address(host)
    except AddressValueError as error:
        raise DestinationRefused(f"{host!r} is not an IPv6 address") from error
    if address.scope_id is not None:
        raise DestinationRefused(f"{host!r} names a network interface of this machine")
    return address


def _ipv4(host: str) -> IPv4Address:
    try:
        return IPv4Address(host)
    except AddressValueError as error:
        raise DestinationRefused(f"{host!r} is not an IPv4 address of four decimal numbers") from error


def _canonical(host: str) -> str:
    address = literal_address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _within(address: IpAddress, networks: _Networks) -> bool:
    return any(address in network for network in networks)


def _is_private_name(name: str) -> bool:
    return "." not in name or any(name.endswith(f".{suffix}") for suffix in _PRIVATE_SUFFIXES)


def _patterns(patterns: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_pattern, (patterns,) if isinstance(patterns, str) else patterns))


def _pattern(pattern: str) -> str:
    wildcard = "*." if pattern.startswith("*.") else ""
    try:
        name = _canonical(pattern.removeprefix("*."))
        if wildcard and literal_address(name) is not None:
            raise DestinationRefused
    except DestinationRefused as error:
        raise ConfigurationError(
            f"{pattern!r} is no pattern of hosts: write a name, an address, or *.example.com for all names below one"
        ) from error
    return wildcard + name


def _fits(name: str, patterns: frozenset[str]) -> bool:
    if name in patterns:
        return True
    parts = name.split(".")
    return any("*." + ".".join(parts[start:]) in patterns for start in range(1, len(parts)))
