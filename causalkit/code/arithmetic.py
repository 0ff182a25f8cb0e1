"""Operators and known calls, on numbers as Python has them and on polynomials as algebra has them."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from causalkit.code.algebra import HIGHEST_POWER, Algebra, Number, Value
from causalkit.code.known_calls import KnownCall
from causalkit.code.reasons import NotUnderstood

# Python would compute 9**9**9 for ever.
_MOST_BITS = 2_048
_MOST_PLACES = 20
_OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}


def combine(algebra: Algebra, sign: ast.operator, left: Value, right: Value) -> Value:
    """Return what an operator makes of two values.

    Examples
    --------
    >>> combine(Algebra([]), ast.Mult(), 2, True)
    2
    """
    if type(sign) not in _OPERATORS:
        raise NotUnderstood(f"the operator {type(sign).__name__}")
    text, function = _OPERATORS[type(sign)]
    if is_number(left) and is_number(right):
        return _of_numbers(function, left, right)
    match sign:
        case ast.Add():
            return algebra.add(left, right)
        case ast.Sub():
            return algebra.add(left, algebra.multiply(-1, right))
        case ast.Mult():
            return algebra.multiply(left, right)
        case ast.Pow() if is_number(right) and right == int(right) and 0 <= right <= HIGHEST_POWER:
            return algebra.power(left, int(right)) if right else 1
    if isinstance(sign, ast.Pow):
        return _power(algebra, left, right)
    if is_number(right):
        if right == 0:
            raise NotUnderstood("a division by zero")
        if isinstance(sign, ast.Div):
            return algebra.divide(left, right)
    return algebra.opaque(_written(algebra, left, text, right), function, left, right)


def apply(algebra: Algebra, call: KnownCall, arguments: Sequence[Value]) -> Value:
    """Return what a known function makes of its arguments.

    Examples
    --------
    >>> apply(Algebra([]), KnownCall("abs", abs, True), [-2])
    2
    """
    if call.name == "round" and not all(is_number(places) and abs(places) < _MOST_PLACES for places in arguments[1:]):
        raise NotUnderstood("a rounding to many or to variable places")
    if all(map(is_number, arguments)):
        return _of_numbers(call.function, *arguments)
    if call.name in ("max", "min"):
        if len(arguments) < 2:
            raise NotUnderstood(f"{call.name} of one argument")
        # In one order and without repetition, so that max(x, y) and max(y, x) are known to be the same.
        by_text = {str(algebra.formula(argument)): argument for argument in arguments}
        arguments = [by_text[text] for text in sorted(by_text)]
        if len(arguments) == 1:
            return arguments[0]
    texts = ", ".join(str(algebra.formula(argument)) for argument in arguments)
    return algebra.opaque(f"{call.name}({texts})", call.function, *arguments)


def is_number(value: Any) -> bool:
    """Return whether a value is one of Python's real numbers, rather than a polynomial or something else.

    Examples
    --------
    >>> is_number(True), is_number("1")
    (True, False)
    """
    return isinstance(value, int | float)


def checked_number(value: Any) -> Number:
    """Return a number if it is finite, real and of moderate size.

    Examples
    --------
    >>> checked_number(float("inf"))
    Traceback (most recent call last):
        ...
    causalkit.code.reasons.NotUnderstood: a value that is no finite number
    """
    if not is_number(value) or not (isinstance(value, int) or math.isfinite(value)):
        raise NotUnderstood("a value that is no finite number")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise NotUnderstood("a number too large")
    return value  # type: ignore[no-any-return]


def _power(algebra: Algebra, base: Value, exponent: Value) -> Value:
    """Return a power that is no polynomial, if computing it is sure to end soon."""
    if not is_number(exponent) and not isinstance(base, float):
        raise NotUnderstood("a variable exponent")
    fastest = abs(exponent) if isinstance(exponent, int) else 1
    return algebra.opaque(_written(algebra, base, "**", exponent), operator.pow, base, exponent, power=fastest)


def _written(algebra: Algebra, left: Value, sign: str, right: Value) -> str:
    return f"({_operand(algebra, left)} {sign} {_operand(algebra, right)})"


def _of_numbers(function: Callable[..., Any], *numbers: Number) -> Number:
    match function, numbers:
        case operator.pow, (int() as base, int() as exponent) if base.bit_length() * exponent > _MOST_BITS:
            raise NotUnderstood("a number too large")
    try:
        return checked_number(function(*numbers))
    except (ArithmeticError, ValueError, TypeError) as error:
        raise NotUnderstood(f"a computation that raises {type(error).__name__} ({error})") from error


def _operand(algebra: Algebra, value: Value) -> str:
    """Return the text of a value between operators, in brackets where needed."""
    formula = algebra.formula(value)
    text = str(formula)
    single = len(formula.terms) == 1 and formula.terms[0][1] == 1 and formula.degree == 1
    return text if single or (is_number(value) and value >= 0) else f"({text})"
