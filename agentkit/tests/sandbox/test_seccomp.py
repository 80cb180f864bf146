"""The filter of system calls, worked out as the kernel would, for processors that are not at hand too."""

from __future__ import annotations

import errno
import struct

import pytest

from agentkit.sandbox.seccomp import filter_program
from agentkit.sandbox.system_calls import Processor, processors

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
REFUSED, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
BOTH = pytest.mark.parametrize("processor", processors().values(), ids=lambda each: each.name)
O_CREAT, O_WRONLY, O_RDWR, O_TRUNC, O_TMPFILE = 0o100, 1, 2, 0o1000, 0o20000000


def verdict(program: bytes, number: int, *arguments: int, audit: int) -> int:
    """What the program says of this call: an interpreter of the few instructions that it uses."""
    data = struct.pack(
        "=iIQ6Q", number - (1 << 32 if number >> 31 else 0), audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6]
    )
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = held = 0
    while True:
        instruction, if_true, if_false, operand = code[at]
        at += 1
        match instruction:
            case 0x20:
                (held,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                held &= operand
            case 0x15:
                at += if_true if held == operand else if_false
            case 0x35:
                at += if_true if held >= operand else if_false
            case 0x06:
                return int(operand)
            case other:
                raise AssertionError(f"an instruction that we do not use: {other:#x}")


def of(processor: Processor, name: str, *arguments: int, network: bool = False, modes: bool = False) -> int:
    program = filter_program(processor, network=network, may_change_modes=modes)
    return verdict(program, processor.numbers[name], *arguments, audit=processor.audit)


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", (0,)),
        ("openat", (0, 0, 0)),
        ("openat", (0, 0, O_RDWR | O_CREAT | O_TRUNC)),
        ("clone", (0x3D0F00,)),
        ("fcntl", (3, 1030)),
        ("ioctl", (1, 0x5401)),
        ("prctl", (15,)),
        ("prlimit64", (0,)),
        ("socketpair", (1, 1 | 0o2000000)),
    ],
)
def test_what_python_needs_is_allowed(processor: Processor, name: str, arguments: tuple[int, ...]) -> None:
    assert of(processor, name, *arguments) == ALLOWED


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("execve", ()),
        ("kill", (1,)),
        ("ptrace", ()),
        ("unshare", ()),
        ("socket", (2, 1)),
        ("socket", (1, 1)),
        ("connect", ()),
        ("fchmod", ()),
        ("utimensat", ()),
        ("openat", (0, 0, O_TRUNC)),
        ("openat", (0, 0, 3)),
        ("openat", (0, 0, O_RDWR | O_TMPFILE)),
        ("clone", (17,)),
        ("clone", (0x10000 | 0x10000000,)),
        ("clone", (0x10000 | 0x80,)),
        ("fcntl", (3, 8)),
        ("fcntl", (3, 10)),
        ("fcntl", (3, 15)),
        ("ioctl", (0, 0x5412)),
        ("ioctl", (0, 0x8901)),
        ("prctl", (1,)),
        ("prctl", (22,)),
        ("prlimit64", (1,)),
        ("socketpair", (1, 2)),
        ("socketpair", (1, 2 | 0o4000)),
        ("socketpair", (2, 1)),
    ],
)
def test_what_reaches_others_is_refused(processor: Processor, name: str, arguments: tuple[int, ...]) -> None:
    assert of(processor, name, *arguments) == REFUSED


@BOTH
def test_the_upper_half_of_an_argument_hides_nothing(processor: Processor) -> None:
    assert of(processor, "fcntl", 3, 8 | 1 << 40) == REFUSED


@BOTH
@pytest.mark.parametrize("number", [435, 425, 999, 451])
def test_a_call_that_is_not_named_does_not_exist(processor: Processor, number: int) -> None:
    program = filter_program(processor, network=True, may_change_modes=True)
    assert verdict(program, number, audit=processor.audit) == UNKNOWN


@BOTH
@pytest.mark.parametrize("audit", [0x40000003, 0x40000028, 0])
def test_another_architecture_kills(processor: Processor, audit: int) -> None:
    assert verdict(filter_program(processor, network=False, may_change_modes=False), 0, audit=audit) == KILLED


@pytest.mark.parametrize("number", [0x40000000, 0x40000000 + 520, 0xFFFFFFFF])
def test_x32_kills(number: int) -> None:
    processor = processors()["x86_64"]
    program = filter_program(processor, network=False, may_change_modes=False)
    assert verdict(program, number, audit=processor.audit) == KILLED


@BOTH
@pytest.mark.parametrize(
    ("family", "kind", "expected"),
    [
        (2, 1, ALLOWED),
        (10, 2 | 0o2000000, ALLOWED),
        (1, 1, REFUSED),
        (16, 3, REFUSED),
        (2, 3, REFUSED),
        (17, 3, REFUSED),
    ],
)
def test_a_granted_network_is_tcp_and_udp_alone(processor: Processor, family: int, kind: int, expected: int) -> None:
    assert of(processor, "socket", family, kind, network=True) == expected


@BOTH
def test_modes_are_changed_only_where_that_is_harmless(processor: Processor) -> None:
    assert of(processor, "fchmod", modes=True) == ALLOWED
