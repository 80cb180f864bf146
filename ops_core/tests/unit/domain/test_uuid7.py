from __future__ import annotations

import time

from ops_core.domain.uuid7 import Uuid7Source


def test_ids_are_version_7_of_the_rfc_variant() -> None:
    made = Uuid7Source().new()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_ids_carry_the_time_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    made = Uuid7Source().new()
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_made_within_one_millisecond_still_grow() -> None:
    source = Uuid7Source()
    made = [source.new() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
