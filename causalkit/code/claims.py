"""What is claimed of a function: its kind of formula, and the formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from causalkit.code.folding import Path
from causalkit.code.formula import Formula, monomial_text

Kind = Literal["LINEAR", "POLYNOMIAL", "CONSTANT", "NONLINEAR", "CONDITIONAL", "UNKNOWN"]


@dataclass(frozen=True, repr=False)
class StaticMechanism:
    """What the source of a function says about how its result comes from its parameters.

    Attributes
    ----------
    type : str
        ``"LINEAR"``, ``"POLYNOMIAL"`` (a degree of two or more), ``"CONSTANT"``; ``"NONLINEAR"``: a known formula that
        is neither; ``"CONDITIONAL"``: one formula or another, by conditions on the parameters; ``"UNKNOWN"``.
    coefficients : dict of str to float
        Of each variable (``"x"``) or product (``"x**2"``, ``"x*y"``) of a linear mechanism or a polynomial.
    offset : float or None
        The constant term; None where there are no coefficients.
    variables : tuple of str
        The parameters that the result depends on, in the order of the signature.
    expression : str or None
        The result as Python would write it.
    branches : tuple of (str, StaticMechanism)
        Of a conditional mechanism: each condition with what holds there. Exactly one condition holds at a time.
    understood : bool
        False only for ``"UNKNOWN"``.
    reason : str or None
        Why nothing is claimed, with the line.

    Examples
    --------
    >>> StaticMechanism.unknown("a loop on line 2")
    StaticMechanism(UNKNOWN: a loop on line 2)
    """

    type: Kind
    coefficients: dict[str, float] = field(default_factory=dict)
    offset: float | None = None
    variables: tuple[str, ...] = ()
    expression: str | None = None
    branches: tuple[tuple[str, StaticMechanism], ...] = ()
    understood: bool = True
    reason: str | None = None

    @classmethod
    def unknown(cls, reason: str) -> StaticMechanism:
        """Claim nothing, for a reason."""
        return cls("UNKNOWN", understood=False, reason=reason)

    def __repr__(self) -> str:
        return f"StaticMechanism({self.type}: {self.reason if self.expression is None else self.expression})"

    def _repr_html_(self) -> str:
        if not self.branches:
            return f"<p><b>{self.type}</b> <code>{escape(self.expression or self.reason or '')}</code></p>"
        rows = "".join(
            f"<tr><td><code>{escape(condition)}</code></td><td>{branch._repr_html_()}</td></tr>"
            for condition, branch in self.branches
        )
        return f"<p><b>{self.type}</b></p><table>{rows}</table>"


def claim(paths: Sequence[Path], parameters: Sequence[str]) -> StaticMechanism:
    """Return what the paths through a function add up to.

    Parameters
    ----------
    paths : sequence of Path
        As `fold` returns them.
    parameters : sequence of str
        In the order of the signature.

    Returns
    -------
    StaticMechanism

    Examples
    --------
    >>> claim([Path((), Formula.of({(("x", 1),): 2, (): 1}))], ["x"])
    StaticMechanism(LINEAR: 2*x + 1)
    """
    if len({path.formula for path in paths}) == 1:
        return _of_formula(paths[0].formula, parameters)
    branches = tuple((_text(path), _of_formula(path.formula, parameters)) for path in paths)
    used = {name for path in paths for name in path.formula.parameters}
    used |= {name for path in paths for condition in path.conditions for name in condition.formula.parameters}
    *cases, last = branches
    return StaticMechanism(
        "CONDITIONAL",
        variables=tuple(name for name in parameters if name in used),
        expression="".join(f"{branch.expression} if {text} else " for text, branch in cases) + str(last[1].expression),
        branches=branches,
    )


def _of_formula(formula: Formula, parameters: Sequence[str]) -> StaticMechanism:
    variables = tuple(name for name in parameters if name in formula.parameters)
    if formula.opaque:
        return StaticMechanism("NONLINEAR", variables=variables, expression=str(formula))
    terms = {monomial_text(monomial): float(value) for monomial, value in formula.terms}
    offset = terms.pop("", 0.0)
    kinds: tuple[Kind, ...] = ("CONSTANT", "LINEAR", "POLYNOMIAL")
    return StaticMechanism(kinds[min(formula.degree, 2)], terms, offset, variables, str(formula))


def _text(path: Path) -> str:
    return " and ".join(map(str, path.conditions))
