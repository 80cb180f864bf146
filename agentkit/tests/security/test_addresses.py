"""Which hosts and addresses may be connected to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ConfigurationError
from agentkit.security.addresses import DestinationRefused, HostPolicy, is_public, literal_address

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82b::200e",
    "2620:fe::fe",
    "64:ff9b::808:808",
]
NOT_PUBLIC = {
    "0.0.0.0": "this network",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "100.64.0.1": "carrier's",
    "100.100.100.200": "metadata",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.169.254": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "protocol",
    "192.0.0.192": "metadata",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible",
    "::8.8.8.8": "IPv4-compatible",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::ffff:0:127.0.0.1": "IPv4-translated",
    "64:ff9b::7f00:1": "NAT64 of loopback",
    "64:ff9b::a9fe:a9fe": "NAT64 of metadata",
    "64:ff9b:1::808:808": "local NAT64",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "Teredo of loopback",
    "2001:20::1": "ORCHID",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4 of loopback",
    "2002:808:808::": "6to4",
    "3fff::1": "documentation",
    "4000::1": "not handed out",
    "5f00::1": "segment routing",
    "fc00::1": "private",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "2606:4700::1%eth0": "zone",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "2606:4700::5efe:10.0.0.1": "ISATAP of private",
    "2606:4700::200:5efe:7f00:1": "ISATAP of loopback",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_for_anything_else_is_not(address: str) -> None:
    assert not is_public(ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_python_does_not_call_global_is_not_public(address: IPv4Address | IPv6Address) -> None:
    assert address.is_global or not is_public(address)


def spellings(address: IPv4Address) -> list[str]:
    """As the C library, browsers and people would write it."""
    number, parts = int(address), address.packed
    return [
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(f"0{part:o}" for part in parts),
        ".".join(map(hex, parts)),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        f"{address}.",
        f"[::ffff:{address}]",
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        f"[2002:{parts[0]:x}{parts[1]:02x}:{parts[2]:x}{parts[3]:02x}::]",
        f"[2001:0:4136:e378:8000:63bf:{(number >> 16) ^ 0xFFFF:x}:{(number & 0xFFFF) ^ 0xFFFF:x}]",
    ]


@given(st.sampled_from([each for each in NOT_PUBLIC if ":" not in each]).map(IPv4Address), st.integers(0, 12))
def test_an_address_that_is_not_public_is_refused_in_every_spelling(address: IPv4Address, spelling: int) -> None:
    with pytest.raises(DestinationRefused):
        HostPolicy().check_host(spellings(address)[spelling], 80)


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global), st.integers(0, 12))
def test_any_address_that_is_not_global_is_refused_in_every_spelling(address: IPv4Address, spelling: int) -> None:
    with pytest.raises(DestinationRefused):
        HostPolicy().check_host(spellings(address)[spelling], 80)


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5", "1.2.3.256", "0x", "a.1", "08"],
)
def test_an_address_that_programs_read_differently_is_refused(host: str) -> None:
    with pytest.raises(DestinationRefused, match="not an IPv4 address"):
        literal_address(host)


@pytest.mark.parametrize(
    "host", ["example.com", "EXAMPLE.com.", "xn--bcher-kva.example", "a_b.example.com", "1.example"]
)
def test_the_name_of_a_public_host_may_be_asked(host: str) -> None:
    HostPolicy().check_host(host, 443)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "wiki",
        "metadata.google.internal",
        "metadata.google.internal.",
        "printer.local",
        "db.corp",
        "router.home.arpa",
        "x.onion",
    ],
)
def test_a_name_that_means_no_public_host_is_refused(host: str) -> None:
    with pytest.raises(DestinationRefused, match="does not name a public host"):
        HostPolicy().check_host(host, 80)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "-a.com",
        "a-.com",
        "a b.com",
        "%31.com",
        "a/b",
        "exa\u0000mple.com",
        "１２７.example",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 5),
        "ex\nample.com",
        "*.example.com",
        "[::1",
        "fe80::1%25lo",
        "::1::",
        "exämple.com",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(DestinationRefused):
        HostPolicy().check_host(host, 80)


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 8080, 65536])
def test_a_port_that_is_not_allowed_is_refused(port: int) -> None:
    with pytest.raises(DestinationRefused, match="port"):
        HostPolicy().check_host("example.com", port)


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("example.com", True),
        ("Example.COM.", True),
        ("docs.python.org", True),
        ("a.b.python.org", True),
        ("python.org", False),
        ("evilpython.org", False),
        ("example.com.evil.net", False),
        ("1.1.1.1", True),
        ("8.8.8.8", False),
        ("2606:4700:4700:0::1111", True),
    ],
)
def test_only_hosts_that_fit_a_pattern_are_allowed(host: str, is_allowed: bool) -> None:
    policy = HostPolicy(allowed_hosts=["example.com", "*.python.org", "1.1.1.1", "2606:4700:4700::1111"])
    if is_allowed:
        policy.check_host(host, 443)
    else:
        with pytest.raises(DestinationRefused, match="not one of the hosts"):
            policy.check_host(host, 443)


def test_an_allowed_host_must_still_be_public() -> None:
    with pytest.raises(DestinationRefused):
        HostPolicy(allowed_hosts=["*.example.com"]).check_address("a.example.com", ip_address("10.0.0.1"))


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "1.1.1.1"])
def test_a_private_host_may_have_private_addresses(address: str) -> None:
    policy = HostPolicy(private_hosts=["wiki", "*.corp"])
    policy.check_host("wiki", 80)
    policy.check_address("wiki", ip_address(address))
    policy.check_address("a.b.corp", ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:10.0.0.1",
        "2002:a00:1::",
        "64:ff9b::a00:1",
    ],
)
def test_no_pattern_opens_metadata_multicast_or_link_local(address: str) -> None:
    policy = HostPolicy(private_hosts=["wiki", address])
    with pytest.raises(DestinationRefused):
        policy.check_address("wiki", ip_address(address))
    with pytest.raises(DestinationRefused):
        policy.check_host(address, 80)


def test_private_hosts_are_allowed_beside_allowed_ones() -> None:
    policy = HostPolicy(allowed_hosts=["example.com"], private_hosts=["10.0.0.7"])
    policy.check_host("10.0.0.7", 80)
    policy.check_host("example.com", 80)
    with pytest.raises(DestinationRefused):
        policy.check_host("10.0.0.8", 80)


def test_a_refusal_does_not_tell_the_address() -> None:
    with pytest.raises(DestinationRefused) as refused:
        HostPolicy().check_address("db.example.com", ip_address("10.9.8.7"))
    assert "10.9.8.7" not in str(refused.value)


@pytest.mark.parametrize(
    "pattern", ["*", "", "a.*", "*.1.2.3.4", "http://a.com", "a.com:80", "10.0.0.0/8", "*a.com", "bücher.example"]
)
def test_a_pattern_that_is_none_is_an_error_of_configuration(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="no pattern of hosts"):
        HostPolicy(private_hosts=[pattern])
