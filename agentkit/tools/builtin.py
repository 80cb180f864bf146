"""Tools that come with agentkit; none has a side effect."""

from __future__ import annotations

from agentkit.tools.calculator import calculator
from agentkit.tools.clock import clock
from agentkit.tools.units import convert_units

__all__ = ["calculator", "clock", "convert_units"]
