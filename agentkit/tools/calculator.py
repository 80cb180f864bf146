"""The tool that does arithmetic, safely: numbers, operators and a few functions, nothing else."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import Field

from agentkit.errors import BadToolArguments
from agentkit.tools.function import tool

Number: TypeAlias = int | float

#: Characters of an expression.
_LENGTH = 500
#: Bits of a whole number on the way; 4,096 bits are 1,233 digits.
_BITS = 4_096

#: Digits to round to, before or after the point.
_ROUND_DIGITS = 300


def _round(number: Number, digits: int = 0) -> Number:
    # Python works out 10 ** digits, which has no bound of its own.
    if abs(digits) > _ROUND_DIGITS:
        raise OverflowError
    return round(number, digits) if digits else round(number)


_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "sqrt": math.sqrt,
    "round": _round,
    "min": min,
    "max": max,
    "abs": abs,
}


@tool(side_effect=False)
def calculator(
    expression: Annotated[str, Field(description="For example: (2 + 3) * 4.5 or sqrt(2) or 2 ** 10")],
) -> str:
    """Work out an arithmetic expression with + - * / // % ** parentheses, and sqrt, round, min, max, abs."""
    return _written(evaluate(expression))


def evaluate(expression: str) -> Number:
    """The value of the expression.

    Raises:
        BadToolArguments: it is not arithmetic, has no value, or would be too large to work out.
    """
    if len(expression) > _LENGTH:
        raise BadToolArguments(f"The expression is longer than {_LENGTH} characters.")
    try:
        # `^` is what people write for a power; in Python it is something else.
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
        return _value(tree.body)
    except ZeroDivisionError as error:
        raise BadToolArguments("The expression divides by zero.") from error
    except (OverflowError, RecursionError, MemoryError) as error:
        raise BadToolArguments("The expression is too large to work out.") from error
    except (SyntaxError, ValueError, TypeError) as error:
        raise BadToolArguments(f"{expression!r} is not arithmetic: {error}.") from error


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.UnaryOp(op, operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.BinOp(left, ast.Pow(), right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(ast.Name(name), arguments, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*(_value(each) for each in arguments)))
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not a number, an operation or one of {[*_FUNCTIONS]}")


def _power(base: Number, exponent: Number) -> Number:
    # Refused before it is worked out: 9**9**9 would take minutes and gigabytes.
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _BITS:
        raise OverflowError
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    return _bounded(result)


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > _BITS:
        raise OverflowError
    if isinstance(number, float) and not math.isfinite(number):
        raise OverflowError
    return number


def _written(number: Number) -> str:
    """0.30000000000000004 is not what people expect of 0.1 + 0.2, so 15 digits are shown."""
    if isinstance(number, int):
        return str(number)
    return f"{number:.15g}"
