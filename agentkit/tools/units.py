"""The tool that converts units of length, mass, temperature, volume, speed and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from agentkit.errors import BadToolArguments
from agentkit.tools.function import tool


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit, as the linear map onto the base unit of its quantity: base = value * factor + offset."""

    quantity: str
    name: str
    factor: float
    offset: float = 0.0


#: Quantity → unit → (factor to the base unit, names it goes by).
_LINEAR: dict[str, dict[str, tuple[float, str]]] = {
    "length": {
        "m": (1, "meter meters metre metres"),
        "km": (1_000, "kilometer kilometers kilometre kilometres"),
        "cm": (0.01, "centimeter centimeters centimetre centimetres"),
        "mm": (0.001, "millimeter millimeters millimetre millimetres"),
        "mi": (1_609.344, "mile miles"),
        "yd": (0.9144, "yard yards"),
        "ft": (0.3048, "foot feet"),
        "in": (0.0254, "inch inches"),
        "nmi": (1_852, "nautical_mile nautical_miles"),
    },
    "mass": {
        "kg": (1, "kilogram kilograms kilo kilos"),
        "g": (0.001, "gram grams"),
        "mg": (1e-6, "milligram milligrams"),
        "t": (1_000, "tonne tonnes metric_ton metric_tons"),
        "lb": (0.45359237, "lbs pound pounds"),
        "oz": (0.028349523125, "ounce ounces"),
        "st": (6.35029318, "stone stones"),
    },
    "volume": {
        "l": (1, "liter liters litre litres"),
        "ml": (0.001, "milliliter milliliters millilitre millilitres"),
        "m3": (1_000, "cubic_meter cubic_meters cubic_metre cubic_metres"),
        "gal": (3.785411784, "gallon gallons us_gallon us_gallons"),
        "qt": (0.946352946, "quart quarts"),
        "pt": (0.473176473, "pint pints"),
        "cup": (0.2365882365, "cups"),
        "fl_oz": (0.0295735295625, "fluid_ounce fluid_ounces"),
    },
    "speed": {
        "m/s": (1, "mps meters_per_second metres_per_second"),
        "km/h": (1 / 3.6, "kmh kph kilometers_per_hour kilometres_per_hour"),
        "mph": (0.44704, "mi/h miles_per_hour"),
        "kn": (1_852 / 3_600, "knot knots kt"),
        "ft/s": (0.3048, "feet_per_second"),
    },
    "time": {
        "s": (1, "sec secs second seconds"),
        "ms": (0.001, "millisecond milliseconds"),
        "min": (60, "mins minute minutes"),
        "h": (3_600, "hr hrs hour hours"),
        "d": (86_400, "day days"),
        "week": (604_800, "weeks wk"),
    },
}
_TEMPERATURE: dict[str, tuple[float, float, str]] = {
    "K": (1, 0, "kelvin kelvins"),
    "°C": (1, 273.15, "c celsius degc degrees_celsius degree_celsius centigrade"),
    "°F": (5 / 9, 459.67 * 5 / 9, "f fahrenheit degf degrees_fahrenheit degree_fahrenheit"),
}


def _all_units() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for quantity, table in _LINEAR.items():
        for name, (factor, aliases) in table.items():
            unit = Unit(quantity, name, factor)
            units |= dict.fromkeys((_key(name), *aliases.split()), unit)
    for name, (factor, offset, aliases) in _TEMPERATURE.items():
        unit = Unit("temperature", name, factor, offset)
        units |= dict.fromkeys((_key(name), *aliases.split()), unit)
    return units


def _key(name: str) -> str:
    return "_".join(name.strip().rstrip(".").casefold().split())


#: Every name a unit goes by → the unit.
UNITS = _all_units()


@tool(side_effect=False)
def convert_units(
    value: Annotated[float, Field(description="The number to convert")],
    from_unit: Annotated[str, Field(description="Unit of the value, for example mi, pounds, celsius")],
    to_unit: Annotated[str, Field(description="Unit wanted, for example km, kg, fahrenheit")],
) -> str:
    """Convert a value between units of length, mass, temperature, volume (US), speed or time."""
    source, target = _unit(from_unit), _unit(to_unit)
    if source.quantity != target.quantity:
        raise BadToolArguments(
            f"{from_unit!r} is a unit of {source.quantity} and {to_unit!r} of {target.quantity}; "
            "they cannot be converted."
        )
    base = value * source.factor + source.offset
    if source.quantity == "temperature" and base < -1e-9:
        raise BadToolArguments(f"{value:.10g} {source.name} is below absolute zero.")
    result = (base - target.offset) / target.factor
    if not math.isfinite(result):
        raise BadToolArguments(f"{value} is too large to convert.")
    return f"{value:.10g} {source.name} = {result:.10g} {target.name}"


def _unit(name: str) -> Unit:
    unit = UNITS.get(_key(name))
    if unit is None:
        known = ", ".join(sorted({each.name for each in UNITS.values()}))
        raise BadToolArguments(f"{name!r} is not a known unit. Known are: {known}.")
    return unit
