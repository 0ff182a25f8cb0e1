"""The ladder: the simplest mechanism that leaves nothing to explain, and that no other clearly beats.

Rungs are tried from simple to rich. After each, a test asks whether the residuals still depend on the parents
(`residuals.Probe`); a rung replaces the best one below it only if its errors on rows left out are smaller by more than
their standard error (the one-standard-error rule of Breiman et al. 1984, on paired differences clustered by block), so
that simple mechanisms win ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.attempts import Attempt, Ladder
from causalkit.scm.blocks import block_sums, least_squares, left_out_errors
from causalkit.scm.features import Features
from causalkit.scm.learners import LEARNERS, left_out_predictions
from causalkit.scm.regression import Regression
from causalkit.scm.residuals import MAX_ROWS, Probe
from causalkit.scm.terms import Terms
from causalkit.streams import stream

RUNGS = ("linear", "polynomial", "spline", "fine spline", *LEARNERS)
# How far each quality goes, and whether it stops as soon as nothing is left to explain.
QUALITIES = {"GOOD": RUNGS[:2], "BETTER": RUNGS[:5], "BEST": RUNGS, "AUTO": RUNGS}
# A rung is tried only with this many rows a term: below, its left-out error is mostly noise.
_ROWS_PER_TERM = 5
_NUM_KNOTS = 8
# One knot for so many rows, within limits.
_ROWS_PER_KNOT, _FINE_KNOTS = 40, (20, 40)
# Residuals less surprising than this are taken for noise; learners cost a hundred times more and ask for more.
_ALPHA = 0.05
_ALPHA_LEARNERS = 0.01
# What is left of a constant's or an exact formula's spread is rounding.
_ROUNDING = 1e-9
# About as many terms' worth of noise a hundred trees fit.
_LEARNT_NOISE = 40
# Of R2.
_LEAST_GAIN = 0.001


@dataclass(frozen=True, eq=False)
class Family:
    """One node with its parents' values: what a mechanism is chosen for.

    Attributes
    ----------
    node : str
    features : Features
    columns : ndarray, shape (rows, parents)
    target : ndarray, shape (rows,)
    blocks : ndarray of int, shape (rows,)
    clustered : bool
        Whether blocks are groups of rows that are alike; otherwise each row stands for itself.
    quality : str
    random_seed : int
    """

    node: str
    features: Features
    columns: FloatArray
    target: FloatArray
    blocks: IntArray
    clustered: bool
    quality: str
    random_seed: int

    def part(self, rows: BoolArray) -> Family:
        """Return the same family with some of its rows."""
        blocks = np.unique(self.blocks[rows], return_inverse=True)[1]
        return replace(self, columns=self.columns[rows], target=self.target[rows], blocks=blocks)

    def enough_for_choosing(self) -> Family:
        """Return whole blocks of at most `MAX_ROWS` rows."""
        if len(self.target) <= MAX_ROWS:
            return self
        sizes = np.bincount(self.blocks)
        return self.part((np.cumsum(sizes) <= max(MAX_ROWS, sizes[0]))[self.blocks])

    def probe(self) -> Probe:
        """Return what residuals of this family are held against."""
        return Probe.of(self.features.matrix(self.columns), self.blocks, stream(self.random_seed, f"probe {self.node}"))


class Candidate(NamedTuple):
    """A rung with its errors on rows left out and its residuals on rows it was fitted to, both of shape (rows,).

    Leaving out blows up the errors of outlying rows, which would look as if they depended on the parents; a learner
    knows the rows it was fitted to by heart. Each is tested on what it is good for.
    """

    rung: str
    terms: Terms
    design: FloatArray
    errors: FloatArray
    residuals: FloatArray
    learner: str = ""
    log: bool = False


def choose_regression(family: Family) -> tuple[Candidate, Ladder]:
    """Climb the ladder for a numeric node.

    Parameters
    ----------
    family : Family

    Returns
    -------
    tuple of (Candidate, Ladder)
        The form that was chosen, and what else was tried.
    """
    rows = family.enough_for_choosing()
    best, ladder = _climb(rows, rows.target, QUALITIES[family.quality])
    if family.quality == "GOOD" or not _may_be_log(rows, best):
        return best, ladder
    return _prefer_log(rows, best, ladder)


def fit_regression(family: Family, chosen: Candidate, ladder: Ladder) -> Regression:
    """Fit a chosen form to all rows of a family."""
    target = np.log(family.target) if chosen.log else family.target
    design = chosen.terms.design(family.columns)
    coefficients = least_squares(design, target)
    residuals = target - design @ coefficients
    learner = None
    if chosen.learner:
        rows = family.features.matrix(family.columns)
        learner = LEARNERS[chosen.learner](family.random_seed, len(rows))
        unseen = left_out_predictions(learner, rows, residuals, family.blocks)
        learner.fit(rows, residuals)
        residuals = residuals - unseen
    else:
        residuals = residuals * np.sqrt(len(target) / max(len(target) - len(chosen.terms), 1))
    whole = not chosen.log and bool(np.all(family.target == np.round(family.target)))
    return Regression(family.node, chosen.terms, coefficients, residuals, ladder, chosen.log, whole, learner)


def clearly_smaller(losses: FloatArray, than: FloatArray, blocks: IntArray) -> bool:
    """Return whether the mean of `losses` is smaller by more than the standard error of the difference."""
    gain = than - losses
    # Squares of squares of large numbers would overflow.
    gain = gain / max(float(np.abs(gain).max()), np.finfo(float).tiny)
    standard_error = np.sqrt(np.sum(block_sums(gain - gain.mean(), blocks) ** 2)) / len(gain)
    return bool(gain.mean() > standard_error)


def stops(p_value: float, next_rung: str) -> bool:
    """Return whether residuals this surprising make it worth to try the next rung."""
    return p_value > (_ALPHA_LEARNERS if next_rung in LEARNERS else _ALPHA)


def _climb(rows: Family, target: FloatArray, allowed: Sequence[str]) -> tuple[Candidate, Ladder]:
    exact = _ROUNDING * max(float(np.abs(target).max()), np.finfo(float).tiny)
    probe = rows.probe() if rows.quality == "AUTO" else None
    best = _first(rows, target)
    attempts: list[Attempt] = []
    candidate: Candidate | None = best
    for rung, further in zip(allowed, [*allowed[1:], ""], strict=True):
        candidate = best if rung == best.rung else _candidate(rung, rows, target, best)
        if candidate is None:
            continue
        if clearly_smaller(candidate.errors**2, best.errors**2, rows.blocks):
            best = candidate
        error = float(np.sqrt(np.mean(candidate.errors**2)))
        p_value = float("nan")
        if probe is not None and error > exact:
            p_value = probe.p_value(candidate.residuals, candidate.design)
        attempts.append(Attempt(rung, error, p_value))
        if error <= exact:
            return best, Ladder(best.rung, tuple(attempts), "predicts without any error")
        if further in LEARNERS and probe is not None and _little(candidate, target, probe):
            return best, Ladder(best.rung, tuple(attempts), f"{rung} leaves too little for a learner")
        if stops(p_value, further):
            return best, Ladder(best.rung, tuple(attempts), f"{rung} leaves nothing that the parents explain")
    tried = "all rungs tried" if len(attempts) == len(allowed) else "too few rows for further rungs"
    return best, Ladder(best.rung, tuple(attempts), f"{tried} ({rows.quality})")


def _little(candidate: Candidate, target: FloatArray, probe: Probe) -> bool:
    """Return whether what is left to explain is not worth a learner, which is a hundred times as dear."""
    share = probe.explained(candidate.residuals, candidate.design)
    gain = share * float(np.mean(candidate.residuals**2)) / max(float(np.var(target)), np.finfo(float).tiny)
    return share < _LEARNT_NOISE / len(target) or gain < _LEAST_GAIN


def _first(rows: Family, target: FloatArray) -> Candidate:
    return _of("linear", Terms.linear(rows.features, rows.columns), rows, target)


def _candidate(rung: str, rows: Family, target: FloatArray, best: Candidate) -> Candidate | None:
    """Return a rung with its errors; None where there are too few rows for it."""
    if rung in LEARNERS:
        # On top of the best rung below: what that explains need not be learnt again, and beyond the rows it goes on.
        features = rows.features.matrix(rows.columns)
        learner = LEARNERS[rung](rows.random_seed, len(features))
        unseen = left_out_predictions(learner, features, best.errors, rows.blocks)
        left = best.errors - unseen
        return best._replace(rung=rung, errors=left, residuals=left, learner=rung)
    found = [_of(rung, terms, rows, target) for terms in _forms(rung, rows, best) if _affordable(terms, target)]
    return min(found, key=lambda candidate: float(np.mean(candidate.errors**2)), default=None)


def _forms(rung: str, rows: Family, best: Candidate) -> list[Terms]:
    """Return the forms of a rung: splines with and without the powers that have proven useful below."""
    if rung == "polynomial":
        return [Terms.quadratic(rows.features, rows.columns)]
    fine = int(np.clip(len(rows.target) // _ROWS_PER_KNOT, *_FINE_KNOTS))
    num_knots = _NUM_KNOTS if rung == "spline" else fine
    kinds = (False, True) if _has_powers(best.terms) else (False,)
    return [Terms.spline(rows.features, rows.columns, num_knots, products=kind) for kind in kinds]


def _affordable(terms: Terms, target: FloatArray) -> bool:
    return len(target) >= _ROWS_PER_TERM * len(terms)


def _has_powers(terms: Terms) -> bool:
    return any(len(term) > 1 for term in terms.factors)


def _of(rung: str, terms: Terms, rows: Family, target: FloatArray) -> Candidate:
    design = terms.design(rows.columns)
    errors = left_out_errors(design, target, rows.blocks if rows.clustered else None)
    return Candidate(rung, terms, design, errors, target - design @ least_squares(design, target))


def _may_be_log(rows: Family, best: Candidate) -> bool:
    """Return whether noise grows with a positive node, as that of latencies does."""
    target = rows.target
    if target.min() <= 0 or best.learner or np.all(target == np.round(target)):
        return False
    squares = best.errors**2
    spread = squares - squares.mean()
    return rows.probe().p_value(spread, np.ones((len(target), 1))) <= _ALPHA_LEARNERS


def _prefer_log(rows: Family, best: Candidate, ladder: Ladder) -> tuple[Candidate, Ladder]:
    """Return the best rung of the logarithm, if that is likelier, predicts as well, and has even noise.

    Likelihoods are compared as Box & Cox (1964) do, on errors of rows left out.
    """
    log_target = np.log(rows.target)
    logged, log_ladder = _climb(rows, log_target, [rung for rung in QUALITIES[rows.quality] if rung not in LEARNERS])
    raw_loss = 0.5 * np.log(np.mean(best.errors**2)) + 0.5 * best.errors**2 / np.mean(best.errors**2)
    log_loss = 0.5 * np.log(np.mean(logged.errors**2)) + 0.5 * logged.errors**2 / np.mean(logged.errors**2) + log_target
    median = np.exp(log_target - logged.errors)
    mean = median * np.mean(np.exp(logged.errors))
    squares = logged.errors**2
    even = rows.probe().p_value(squares - squares.mean(), np.ones((len(squares), 1))) > _ALPHA_LEARNERS
    if (
        not even
        or not clearly_smaller(log_loss, raw_loss, rows.blocks)
        or clearly_smaller(best.errors**2, (rows.target - mean) ** 2, rows.blocks)
    ):
        return best, ladder
    chosen = f"log {logged.rung}"
    p_value = next(attempt.p_value for attempt in log_ladder.attempts if attempt.rung == logged.rung)
    attempt = Attempt(chosen, float(np.sqrt(np.mean((rows.target - mean) ** 2))), p_value)
    stopped = f"{chosen}: noise is even on the logarithm only, and that is likelier"
    return logged._replace(rung=chosen, log=True), Ladder(chosen, (*ladder.attempts, attempt), stopped)
