"""Which mechanism: the simplest whose error on rows left out is not beaten by more than its standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import Moments, block_sums
from causalkit.scm.terms import Terms

_RUNGS: tuple[tuple[str, Callable[[Sequence[str], FloatArray], Terms]], ...] = (
    ("linear", Terms.linear),
    ("polynomial", Terms.quadratic),
)
# A rung is tried only with this many rows a term: below, its left-out error is mostly noise.
_ROWS_PER_TERM = 5


@dataclass(frozen=True, eq=False)
class Mechanism:
    """How a node's value comes from its parents': a polynomial and the residuals around it.

    Attributes
    ----------
    node : str
    rung : str
        ``linear`` or ``polynomial``.
    terms : Terms
    coefficients : ndarray, shape (terms,)
    residuals : ndarray, shape (rows,)
        The node's noise, in its own unit, blown up for the degrees of freedom that the fit took.
    tried : dict of str to float
        Root mean squared error on blocks left out, of every rung that was tried.
    """

    node: str
    rung: str
    terms: Terms
    coefficients: FloatArray
    residuals: FloatArray
    tried: dict[str, float]

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents, in the order of their columns."""
        return self.terms.parents


def choose_mechanism(
    node: str, parents: Sequence[str], columns: FloatArray, target: FloatArray, blocks: IntArray
) -> Mechanism:
    """Climb from linear to degree 2, and stay at the lower rung unless the higher one is clearly better.

    Parameters
    ----------
    node : str
    parents : sequence of str
        Names of the columns.
    columns : ndarray, shape (rows, parents)
    target : ndarray, shape (rows,)
    blocks : ndarray of int, shape (rows,)
        Rows of one block are left out together.

    Returns
    -------
    Mechanism

    Notes
    -----
    The one-standard-error rule of Breiman et al. (1984), on the paired difference of squared errors and clustered by
    block, so that simple mechanisms win ties.
    """
    candidates = [
        _Candidate.of(rung, build(parents, columns), columns, target, blocks)
        for rung, build in _RUNGS
        if rung == "linear" or len(target) >= _ROWS_PER_TERM * len(build(parents, columns).factors)
    ]
    best = candidates[0]
    for candidate in candidates[1:]:
        if _clearly_smaller(candidate.errors, best.errors, blocks):
            best = candidate
    tried = {candidate.rung: float(np.sqrt(np.mean(candidate.errors**2))) for candidate in candidates}
    return _fit(node, best.rung, best.terms, columns, target, tried)


class _Candidate(NamedTuple):
    rung: str
    terms: Terms
    errors: FloatArray

    @classmethod
    def of(cls, rung: str, terms: Terms, columns: FloatArray, target: FloatArray, blocks: IntArray) -> _Candidate:
        design = terms.design(columns)
        return cls(rung, terms, Moments.of(design, target, blocks).left_out_errors(design, target, blocks))


def _clearly_smaller(errors: FloatArray, than: FloatArray, blocks: IntArray) -> bool:
    gain = than**2 - errors**2
    sums = block_sums(gain - gain.mean(), blocks)
    standard_error = np.sqrt(np.sum(sums**2)) / len(gain)
    return bool(gain.mean() > standard_error)


def _fit(
    node: str, rung: str, terms: Terms, columns: FloatArray, target: FloatArray, tried: dict[str, float]
) -> Mechanism:
    design = terms.design(columns)
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    coefficients = np.asarray(solution, dtype=np.float64)
    freedom = np.sqrt(len(target) / max(len(target) - int(rank), 1))
    return Mechanism(node, rung, terms, coefficients, (target - design @ coefficients) * freedom, tried)
