"""A result as a formula: a polynomial in parameters and in calls that are no polynomial themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

_SHORT = 8
_LARGE = 10**16


@dataclass(frozen=True)
class Opaque:
    """An operation that is no polynomial of its arguments, such as a square root or a remainder.

    Attributes
    ----------
    text : str
        Equal operations on equal arguments have equal texts.
    function : callable
    arguments : tuple of Formula
    growth : int
        No faster than this power of the parameters it grows where it is a whole number.
    """

    text: str
    function: Callable[..., Any]
    arguments: tuple[Formula, ...]
    growth: int

    def __str__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.text == other.text


Monomial = tuple[tuple[str | Opaque, int], ...]


@dataclass(frozen=True)
class Formula:
    """A sum of products with exact coefficients.

    Attributes
    ----------
    terms : tuple of (monomial, Fraction)
        The highest degree first. A monomial is a tuple of (parameter or `Opaque`, power), the empty one the constant.

    Examples
    --------
    >>> formula = Formula.of({(("x", 2),): 1, (("x", 1), ("y", 1)): -0.5, (): 3})
    >>> print(formula, formula.value({"x": 2, "y": 1}), formula.degree)
    x**2 - 0.5*x*y + 3 6.0 2
    """

    terms: tuple[tuple[Monomial, Fraction], ...]

    @classmethod
    def of(cls, coefficients: Mapping[Monomial, Fraction | float]) -> Formula:
        """Make a formula from coefficients by monomial."""
        nonzero = [(monomial, Fraction(value)) for monomial, value in coefficients.items() if value]
        return cls(tuple(sorted(nonzero, key=lambda term: _rank(term[0]))))

    @property
    def degree(self) -> int:
        """The highest sum of powers; zero for a constant."""
        return max((sum(power for _, power in monomial) for monomial, _ in self.terms), default=0)

    @property
    def growth(self) -> int:
        """The degree with that of the opaque operations counted in."""
        sizes = [[p * (1 if isinstance(factor, str) else factor.growth) for factor, p in m] for m, _ in self.terms]
        return max(map(sum, sizes), default=0)

    @property
    def opaque(self) -> bool:
        """Whether anything in it is no polynomial."""
        return any(isinstance(factor, Opaque) for monomial, _ in self.terms for factor, _ in monomial)

    @property
    def parameters(self) -> set[str]:
        """The parameters that occur, at any depth."""
        factors = {factor for monomial, _ in self.terms for factor, _ in monomial}
        inner = [
            argument.parameters for factor in factors if isinstance(factor, Opaque) for argument in factor.arguments
        ]
        return {factor for factor in factors if isinstance(factor, str)}.union(*inner)

    def value(self, point: Mapping[str, float]) -> float:
        """Return its value at a point; whatever an `Opaque` raises there goes through."""
        return sum(self.parts(point))

    def parts(self, point: Mapping[str, float]) -> list[float]:
        """Return the value of each term at a point."""
        return [plain(c) * prod(_at(factor, point) ** power for factor, power in m) for m, c in self.terms]

    def __str__(self) -> str:
        text = "".join(_signed(monomial, coefficient) for monomial, coefficient in self.terms) or " + 0"
        return text[3:] if text.startswith(" + ") else "-" + text[3:]


def monomial_text(monomial: Monomial) -> str:
    """Return a product as it is written in Python.

    Examples
    --------
    >>> monomial_text((("x", 1), ("y", 2)))
    'x*y**2'
    """
    return "*".join(str(factor) if power == 1 else f"{factor}**{power}" for factor, power in monomial)


def number_text(value: Fraction) -> str:
    """Return a number as it is written in Python: a whole one without a point.

    Examples
    --------
    >>> number_text(Fraction(3)), number_text(Fraction(-1, 10)), number_text(Fraction(1, 3))
    ('3', '-0.1', '1/3')
    """
    if value.denominator == 1 and abs(value) < _LARGE:
        return str(value)
    decimal = repr(float(value))
    exact = 1 < value.denominator <= 10**_SHORT and len(decimal) > _SHORT
    return str(value) if exact else decimal


def _signed(monomial: Monomial, coefficient: Fraction) -> str:
    sign, size = ("-" if coefficient < 0 else "+"), abs(coefficient)
    factors = monomial_text(monomial)
    if not factors:
        return f" {sign} {number_text(size)}"
    return f" {sign} {factors if size == 1 else number_text(size) + '*' + factors}"


def _rank(monomial: Monomial) -> tuple[int, list[tuple[str, int]]]:
    return -sum(power for _, power in monomial), [(str(factor), -power) for factor, power in monomial]


def _at(factor: str | Opaque, point: Mapping[str, float]) -> float:
    if isinstance(factor, str):
        return point[factor]
    return factor.function(*(argument.value(point) for argument in factor.arguments))  # type: ignore[no-any-return]


def plain(value: Fraction) -> float:
    """Return a number as a program has it: whole if it is, and otherwise the nearest binary fraction.

    Examples
    --------
    >>> plain(Fraction(3)), plain(Fraction(1, 10))
    (3, 0.1)
    """
    return value.numerator if value.denominator == 1 else float(value)
