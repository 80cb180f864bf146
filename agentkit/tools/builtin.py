"""Tools that come with agentkit; none has a side effect."""

from __future__ import annotations

from agentkit.tools.calculator import calculator
from agentkit.tools.clock import clock
from agentkit.tools.units import convert_units
from agentkit.tools.waiting import ask_person, sleep, wait_for_signal

__all__ = ["ask_person", "calculator", "clock", "convert_units", "sleep", "wait_for_signal"]
