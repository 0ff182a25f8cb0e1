"""Exact arithmetic on what a program computes, bounded in size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from causalkit.code.formula import Formula, Monomial, Opaque
from causalkit.code.reasons import NotUnderstood

# An element of a sympy ring; sympy has no types.
Polynomial = Any
Number = int | float
Value = Number | Polynomial

HIGHEST_POWER = 20
_MOST_TERMS = 2_000
_LONGEST_TEXT = 2_000
# Whole numbers are computed to the last digit, and of a million to this power that still takes no time.
_FASTEST_GROWTH = 500
# Where decimal fractions nearly cancel, what is left is rounding: 0.1*x + 0.2*x - 0.3*x is 0.
_ROUNDING = Fraction(1, 10**13)


class Algebra:
    """Adds, multiplies and renames: polynomials over parameters and opaque operations.

    Numbers go in and come out as Python's own, so that what is computed of numbers alone is left to Python.

    Parameters
    ----------
    parameters : sequence of str

    Attributes
    ----------
    spread : float
        The largest sum of absolute coefficients met so far, which says how far rounding may carry.
    degree : int
        The highest degree met so far.

    Examples
    --------
    >>> algebra = Algebra(["x"])
    >>> x = algebra.parameter("x")
    >>> print(algebra.formula(algebra.multiply(2, algebra.add(x, 1))))
    2*x + 2
    """

    def __init__(self, parameters: Sequence[str]) -> None:
        self.spread, self.degree = 1.0, 1
        self._factors: list[str | Opaque] = []
        self._ring: Any = None
        self._extend(*parameters)

    def parameter(self, name: str) -> Polynomial:
        """Return the polynomial that a parameter is."""
        return self._ring.gens[self._factors.index(name)]

    def add(self, left: Value, right: Value) -> Value:
        """Return a sum."""
        first, second = self._lift(left), self._lift(right)
        return self._plain(_without_rounding(first + second, first, second))

    def multiply(self, left: Value, right: Value) -> Value:
        """Return a product."""
        first, second = self._lift(left), self._lift(right)
        if len(first) * len(second) > _MOST_TERMS:
            raise NotUnderstood("a product too large to multiply out")
        return self._plain(first * second)

    def divide(self, value: Value, divisor: Number) -> Value:
        """Return a quotient by a number that is not zero."""
        exact = _fraction(self._lift(divisor).coeff(1))
        return self._plain(self._lift(value) * self._ring.domain(exact.denominator, exact.numerator))

    def power(self, base: Value, exponent: int) -> Value:
        """Return a whole, positive power."""
        result: Value = base
        for _ in range(exponent - 1):
            result = self.multiply(result, base)
        return result

    def opaque(self, text: str, function: Callable[..., Any], *arguments: Value, power: int = 1) -> Polynomial:
        """Return what a function that is no polynomial makes of its arguments; `power` bounds how fast it grows."""
        if len(text) > _LONGEST_TEXT:
            raise NotUnderstood("an expression too long to be read")
        formulas = tuple(map(self.formula, arguments))
        growth = power * max(formula.growth for formula in formulas)
        if growth > _FASTEST_GROWTH:
            raise NotUnderstood("a power too large to compute")
        operation = Opaque(text, function, formulas, growth)
        if operation not in self._factors:
            self._extend(operation)
        return self._ring.gens[self._factors.index(operation)]

    def formula(self, value: Value) -> Formula:
        """Return a value as it is kept and shown."""
        polynomial = self._lift(value)
        return Formula.of({self._monomial(powers): _fraction(c) for powers, c in polynomial.terms() if c})

    def _monomial(self, powers: tuple[int, ...]) -> Monomial:
        return tuple(sorted(((f, p) for f, p in zip(self._factors, powers, strict=False) if p), key=str))

    def _extend(self, *factors: str | Opaque) -> None:
        # Here and not at the top: it takes a fifth of a second, and not everyone who imports this room needs it.
        from sympy import QQ, Symbol
        from sympy.polys.orderings import grlex
        from sympy.polys.rings import PolyRing

        self._factors += factors
        # Numbered, because a ring takes symbols of one name for one.
        self._ring = PolyRing([Symbol(f"f{index}") for index in range(len(self._factors))], QQ, grlex)

    def _lift(self, value: Value) -> Polynomial:
        """Return a value as a polynomial over all factors met so far."""
        if isinstance(value, int | float):
            # A decimal is taken as it is written: 0.1 as a tenth, not as the binary fraction next to it.
            exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
            return self._ring.ground_new(self._ring.domain(exact.numerator, exact.denominator))
        return value.set_ring(self._ring)

    def _plain(self, polynomial: Polynomial) -> Value:
        """Return a constant polynomial as a number, and keep account of size."""
        if polynomial.is_ground:
            return _number(_fraction(polynomial.coeff(1)))
        self.degree = max(self.degree, *(sum(powers) for powers in polynomial))
        try:
            self.spread = max(self.spread, float(sum(abs(_fraction(c)) for c in polynomial.values())))
        except OverflowError as error:
            raise NotUnderstood("a number too large") from error
        if self.degree > HIGHEST_POWER:
            raise NotUnderstood(f"a degree above {HIGHEST_POWER}")
        return polynomial


def _without_rounding(total: Polynomial, first: Polynomial, second: Polynomial) -> Polynomial:
    for powers, coefficient in first.items():
        one, other, both = (_fraction(value) for value in (coefficient, second.get(powers, 0), total.get(powers, 0)))
        if both and abs(both) < _ROUNDING * abs(one) and one.denominator * other.denominator > 1:
            total = total - total.ring.term_new(powers, total[powers])
    return total


def _number(value: Fraction) -> Number:
    if value.denominator == 1:
        return int(value)
    try:
        return float(value)
    except OverflowError as error:
        raise NotUnderstood("a number too large") from error


def _fraction(value: Any) -> Fraction:
    return Fraction(int(value.numerator), int(value.denominator))
