"""What the tests on a path through a program say about its inputs, and what follows from it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from causalkit.code.formula import Formula, number_text, plain

# A cut of the number line: (c, 0) lies just below c, (c, 1) just above it.
_Cut = tuple[Fraction | float, int]
_NEGATED = {">": "<=", "<=": ">", ">=": "<", "<": ">=", "==": "!=", "!=": "=="}
_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}
_TESTS = {
    **{">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le},
    **{"==": operator.eq, "!=": operator.ne},
}

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Condition:
    """A comparison of a formula with a number.

    Attributes
    ----------
    formula : Formula
        With leading coefficient 1 and without a constant, so that equal conditions have equal formulas.
    relation : str
        One of ``> >= < <= == !=``.
    threshold : Fraction

    Examples
    --------
    >>> Condition.of(Formula.of({(("x", 1),): -2, (): 6}), ">")
    Condition(x < 3)
    """

    formula: Formula
    relation: str
    threshold: Fraction

    def __repr__(self) -> str:
        return f"Condition({self})"

    def __str__(self) -> str:
        return f"{self.formula} {self.relation} {number_text(self.threshold)}"

    @classmethod
    def of(cls, difference: Formula, relation: str) -> Condition:
        """Bring ``difference <relation> 0`` into the common form."""
        leading = difference.terms[0][1]
        scaled = {monomial: coefficient / leading for monomial, coefficient in difference.terms}
        constant = scaled.pop((), Fraction(0))
        return cls(Formula.of(scaled), relation if leading > 0 else _MIRRORED[relation], -constant)

    def negated(self) -> Condition:
        """Return the condition that holds where this one does not."""
        return Condition(self.formula, _NEGATED[self.relation], self.threshold)

    def holds(self, point: Mapping[str, float]) -> bool:
        """Return whether a point meets the condition."""
        return bool(_TESTS[self.relation](self.formula.value(point), plain(self.threshold)))

    def near(self, point: Mapping[str, float]) -> bool:
        """Return whether rounding may decide at a point."""
        parts = self.formula.parts(point)
        if self.threshold.denominator == 1 and all(float(value).is_integer() for value in (*parts, *point.values())):
            return False
        distance, size = abs(sum(parts) - plain(self.threshold)), sum(map(abs, [*parts, plain(self.threshold)]))
        return distance <= _ROUNDING * size


class Facts:
    """The conditions taken so far on a path.

    Examples
    --------
    >>> x, facts = Formula.of({(("x", 1),): 1}), Facts()
    >>> facts.assume(Condition(x, ">", Fraction(10)))
    >>> facts.decide(Condition(x, ">", Fraction(5))), facts.decide(Condition(x, ">", Fraction(20)))
    (True, None)
    """

    def __init__(self) -> None:
        self._ranges: dict[Formula, _Range] = {}

    def decide(self, condition: Condition) -> bool | None:
        """Return whether a condition holds, as far as it follows from those taken; None if it may or may not."""
        relation, threshold = condition.relation, condition.threshold
        known = self._ranges.get(condition.formula, _Range())
        if relation in ("==", "!="):
            answer = known.equals(threshold)
        else:
            answer = known.above((threshold, 1 if relation in (">", "<=") else 0))
        return answer if relation in (">", ">=", "==") or answer is None else not answer

    def assume(self, condition: Condition) -> None:
        """Take a condition as given."""
        relation, threshold = condition.relation, condition.threshold
        known = self._ranges.setdefault(condition.formula, _Range())
        if relation == "!=":
            known.excluded.add(threshold)
        if relation in (">", ">=", "=="):
            known.low = max(known.low, (threshold, 1 if relation == ">" else 0))
        if relation in ("<", "<=", "=="):
            known.high = min(known.high, (threshold, 0 if relation == "<" else 1))


@dataclass
class _Range:
    """The values between two cuts, without those excluded."""

    low: _Cut = (-float("inf"), 0)
    high: _Cut = (float("inf"), 0)
    excluded: set[Fraction] = field(default_factory=set)

    def above(self, cut: _Cut) -> bool | None:
        """Return whether all values lie above a cut, or none of them; None if some do."""
        if self.low >= cut:
            return True
        return False if self.high <= cut else None

    def equals(self, value: Fraction) -> bool | None:
        below, above = self.above((value, 0)), self.above((value, 1))
        if below is False or above is True or value in self.excluded:
            return False
        return True if below is True and above is False else None
