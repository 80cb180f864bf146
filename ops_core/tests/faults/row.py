"""What a row of the fault table is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ops_core.tests.faults.lab import Lab
    from ops_core.tests.faults.tally import Tally

#: How much of what; the names are the row's own.
Size: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault, and the remedy without which the oracle must find something."""

    name: str
    #: What is done to the system, as the table says it.
    fault: str
    #: What the product has against it; the control runs without.
    remedy: str
    short: Size
    full: Size
    #: What the control gets instead of a full size: it need only show that the oracle sees.
    control: Size | None = None
    run: Callable[[Lab, Size, random.Random, bool], Tally]

    def size(self, name: str) -> Size:
        """`short` or `full`."""
        return {"short": self.short, "full": self.full}[name]

    def control_size(self) -> Size:
        return self.control if self.control is not None else self.short


class CannotRun(Exception):
    """Something this row needs is not on this machine."""
