"""The ladder for labels: multinomial logistic terms from simple to rich, then boosted trees, judged by log-loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.attempts import Attempt, Ladder
from causalkit.scm.classification import Classification, fit_logistic, left_out_chances
from causalkit.scm.learners import left_out_predictions
from causalkit.scm.selection import QUALITIES, Family, clearly_smaller, stops
from causalkit.scm.terms import Terms

_RUNGS = ("linear", "polynomial", "spline", "boosting")
_NUM_KNOTS = 6
# Terms a label: a logistic fit needs more rows a term than a line does (Peduzzi et al. 1996).
_ROWS_PER_TERM = 10


class Choice(NamedTuple):
    """A rung with the log-loss of each row left out and its residuals, shape (rows, labels)."""

    rung: str
    terms: Terms
    losses: FloatArray
    residuals: FloatArray
    chances: FloatArray


def choose_classification(family: Family, num_labels: int) -> tuple[Choice, Ladder]:
    """Climb the ladder for a node of labels.

    Parameters
    ----------
    family : Family
        With the labels' places as its target.
    num_labels : int

    Returns
    -------
    tuple of (Choice, Ladder)
    """
    rows = family.enough_for_choosing()
    rungs = [rung for rung in _RUNGS if rung in QUALITIES[family.quality]]
    best: Choice | None = None
    attempts: list[Attempt] = []
    probe = rows.probe() if family.quality == "AUTO" else None
    for rung, further in zip(rungs, [*rungs[1:], ""], strict=True):
        choice = _try(rung, rows, num_labels, best)
        if choice is None:
            continue
        if best is None or clearly_smaller(choice.losses, best.losses, rows.blocks):
            best = choice
        p_value = float("nan")
        if probe is not None:
            design = choice.terms.design(rows.columns)
            # Labels share their information: Bonferroni over them.
            values = [
                probe.p_value(choice.residuals[:, k], design, choice.chances[:, k] * (1 - choice.chances[:, k]))
                for k in range(1, num_labels)
            ]
            p_value = min(1.0, len(values) * min(values))
        attempts.append(Attempt(rung, float(choice.losses.mean()), p_value))
        if stops(p_value, further):
            return best, Ladder(best.rung, tuple(attempts), f"{rung} leaves nothing that the parents explain")
    assert best is not None  # noqa: S101 - linear is always tried
    return best, Ladder(best.rung, tuple(attempts), f"all rungs tried that rows are enough for ({family.quality})")


def fit_classification(family: Family, chosen: Choice, ladder: Ladder, num_labels: int) -> Classification:
    """Fit a chosen form to all rows of a family."""
    target = family.target.astype(np.int64)
    if chosen.rung != "boosting":
        coefficients = fit_logistic(chosen.terms.design(family.columns), target, num_labels)
        return Classification(family.node, chosen.terms, coefficients, num_labels, ladder)
    terms = Terms.linear(family.features, family.columns)
    learner = _boosting(family.random_seed).fit(family.features.matrix(family.columns), target)
    nothing = np.zeros(len(terms) * (num_labels - 1))
    return Classification(family.node, terms, nothing, num_labels, ladder, learner)


def _try(rung: str, rows: Family, num_labels: int, best: Choice | None) -> Choice | None:
    target = rows.target.astype(np.int64)
    if rung == "boosting":
        if len(np.unique(target)) < 2 or best is None:
            return None
        features = rows.features.matrix(rows.columns)
        learner = _boosting(rows.random_seed)
        chances = left_out_predictions(learner, features, rows.target, rows.blocks, "predict_proba")
        return _judged(rung, best.terms, _spread_out(chances, np.unique(target), num_labels), target)
    terms = _terms(rung, rows, best)
    if best is not None and len(target) < _ROWS_PER_TERM * len(terms) * (num_labels - 1):
        return None
    return _judged(rung, terms, left_out_chances(terms.design(rows.columns), target, num_labels, rows.blocks), target)


def _terms(rung: str, rows: Family, best: Choice | None) -> Terms:
    if rung == "linear":
        return Terms.linear(rows.features, rows.columns)
    if rung == "polynomial":
        return Terms.quadratic(rows.features, rows.columns)
    products = best is not None and best.rung == "polynomial"
    return Terms.spline(rows.features, rows.columns, _NUM_KNOTS, products=products)


def _judged(rung: str, terms: Terms, chances: FloatArray, target: IntArray) -> Choice:
    chances = np.clip(chances, 1e-6, 1.0)
    losses = -np.log(chances[np.arange(len(target)), target])
    return Choice(rung, terms, losses, np.eye(chances.shape[1])[target] - chances, chances)


def _spread_out(chances: FloatArray, seen: IntArray, num_labels: int) -> FloatArray:
    full = np.zeros((len(chances), num_labels))
    full[:, seen] = chances
    return full


def _boosting(random_seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=50, early_stopping=False, random_state=random_seed % 2**32)
