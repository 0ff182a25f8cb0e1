"""Did a mechanism change between two tables of runs: a score test that inputs may move without being noticed.

Every mechanism is fitted anew to the rows of both tables together. If it is the same in both, its residuals know
nothing of the table that a row is from: not in their mean, not in what they do along the parents, not in their scatter
or shape (smooth tests: Neyman 1937). Each of these is a score (Rao 1948) made orthogonal to what was fitted, so that
parents whose distribution moved are no change of a mechanism that fits. The null distribution comes from turning the
sign of whole clusters of rows (Kline & Santos 2012): a cluster that is in both tables is compared with itself. The
smallest p-value of a node's scores is judged by the same flips (Westfall & Young 1993, *Resampling-based multiple
testing*), and nodes are adjusted for each other by Holm's method (1979).

Where values are missing, as those of a step that did not run, a mechanism is judged on the rows that have the node and
its parents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from causalkit.errors import FitError
from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.blocks import block_sums, least_squares
from causalkit.scm.classification import Classification, fit_logistic
from causalkit.scm.features import Features
from causalkit.scm.gaps import drawn_as_beside, recorded
from causalkit.scm.learners import left_out_predictions
from causalkit.scm.regression import Regression
from causalkit.scm.residuals import Probe, flips
from causalkit.scm.selection import Candidate, Family, fit_regression
from causalkit.scm.state import FittedState, Mechanism
from causalkit.scm.terms import Terms
from causalkit.streams import stream
from causalkit.tables import row_name

_NUM_FLIPS = 1999
# Left of an exact formula, relative to the values.
_ROUNDING = 1e-9
# Directions of a score below this share of what they were before the fit took its part are rounding.
_RANK = 1e-6
_NUM_WAVES = 4
_ROWS_PER_TERM = 5
# Rows: with more terms than that the flips of clusters are too narrow.
_WORTH_OF_A_CLUSTER = 2
_FEW_KNOTS, _KNOTS = 5, 8
_MISFIT = 0.05
# Share of the difference between the tables that parents must leave open.
_OVERLAP = 0.05
_NONE = np.empty(0)


@dataclass(frozen=True, eq=False)
class Releases:
    """The rows of two tables as one, with the mechanisms fitted to all of them.

    Attributes
    ----------
    scm : FittedSCM
        Only the target and what is upstream of it; its table holds the rows of both.
    after : ndarray of bool, shape (rows,)
        Which rows are from the second table.
    learnt : dict of str to ndarray, shape (rows that have the node and its parents, labels)
        Of nodes whose labels were learnt: the probability of each by a learner fitted to other rows.
    """

    scm: FittedState
    after: BoolArray
    learnt: dict[str, FloatArray]

    @classmethod
    def of(cls, scm: FittedState, after: BoolArray) -> Releases:
        """Fit the mechanisms of a model anew to its table."""
        learnt: dict[str, FloatArray] = {}
        scm = replace(scm, mechanisms={node: scm.mechanisms[node] for node in scm.order if node in scm.mechanisms})
        for node in scm.order:
            mechanism, rows = scm.mechanisms.get(node), recorded(scm, node)
            if mechanism is not None:
                part = _part(scm, rows)
                if isinstance(mechanism, Classification) and mechanism.learner is not None:
                    learnt[node] = _left_out_chances(part, mechanism)
                mechanism = _refitted(part, mechanism, after[rows])
                scm = replace(scm, mechanisms={**scm.mechanisms, node: mechanism})
            if not rows.all():
                scm = drawn_as_beside(scm, node, rows, after)
        return cls(scm, after, learnt)

    def judged(self, node: str) -> Releases:
        """Return the rows that tell about a node: those that have it and its parents."""
        rows = recorded(self.scm, node)
        if rows.all():
            return self
        part, mechanism = _part(self.scm, rows), self.scm.mechanisms.get(node)
        if mechanism is not None:
            part = replace(part, mechanisms={**part.mechanisms, node: mechanism.at(rows)})
        return replace(self, scm=part, after=self.after[rows])

    def family(self, node: str) -> tuple[FloatArray, FloatArray]:
        """Return the values of a node's parents, shape (rows, parents), and its own."""
        return _family(self.scm, node)


def adjusted_p_values(releases: Releases, alpha: float) -> dict[str, float]:
    """Return for each node how likely chance alone sets the tables this far apart, adjusted over all nodes."""
    scm = releases.scm
    nodes = [node for node in scm.order if node not in scm.derived]
    enough = max(_NUM_FLIPS, math.ceil(2 * len(nodes) / alpha))
    judged = [releases.judged(node) for node in nodes]
    p_values = np.array(
        [_p_value(*_scores(part, node), part.scm.blocks, enough) for node, part in zip(nodes, judged, strict=True)]
    )
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * (len(nodes) - np.arange(len(nodes))))
    return {nodes[place]: min(1.0, float(value)) for place, value in zip(order, adjusted, strict=True)}


def moved_away(releases: Releases) -> list[str]:
    """Return the nodes whose parents nearly tell which table a row is from."""
    after = releases.after.astype(float)[:, None]
    designs = {node: mech.terms.design(releases.family(node)[0]) for node, mech in releases.scm.mechanisms.items()}
    return [node for node, design in designs.items() if _beside(after, design).var() < _OVERLAP * after.var()]


def _p_value(scores: list[FloatArray], num_fitted: int, blocks: IntArray, enough: int) -> float:
    sums = [block_sums(score, blocks) for score in scores]
    unit = [_whitened(total, score) for total, score in zip(sums, scores, strict=True)]
    # Residuals are smaller than the noise behind them, by what was fitted; their sum over rows is not.
    share = num_fitted / len(blocks) + 1 / len(sums[0])
    own = np.full((1, len(sums[0])), np.sqrt(max(1 - share, 0.0)))
    p_value = 1.0
    for num_flips in (_NUM_FLIPS, enough):
        signs = np.vstack([own, flips(num_flips, len(sums[0]))])
        drawn = np.array([np.sum((signs @ part) ** 2, axis=1) for part in unit if part.shape[1]])
        if not len(drawn):
            return 1.0
        # Gamma distributions with the flips' own moments make the statistics comparable, whatever their size.
        mean = drawn[:, 1:].mean(axis=1, keepdims=True)
        spread = np.maximum(drawn[:, 1:].var(axis=1, keepdims=True), _RANK)
        least = stats.gamma.sf(drawn * mean / spread, mean**2 / spread).min(axis=0)
        p_value = float(np.mean(least <= least[0] * (1 + _ROUNDING)))
        if p_value > _MISFIT or num_flips >= enough:
            break
    return p_value


def _whitened(sums: FloatArray, scores: FloatArray) -> FloatArray:
    left, lengths, _ = np.linalg.svd(sums, full_matrices=False)
    return np.asarray(left[:, lengths > _RANK * np.sqrt(np.sum(scores**2))])


def _scores(releases: Releases, node: str) -> tuple[list[FloatArray], int]:
    """Return the scores of each row: for the mean, for what it does along the parents, for scatter and shape.

    Beside them the number of terms that were fitted.
    """
    scm, after = releases.scm, releases.after.astype(float)[:, None]
    mechanism = scm.mechanisms.get(node)
    if mechanism is None:
        return _root_scores(scm.table[node].to_numpy(), len(scm.levels.get(node, ())), after), 1
    columns, target = releases.family(node)
    design, features = mechanism.terms.design(columns), mechanism.terms.features.matrix(columns)
    straight = after * (features - features.mean(axis=0))
    directions = [after, straight, *([after * design] if len(mechanism.terms) > straight.shape[1] + 1 else [])]
    # A form that fits most rows may be off where parents moved to: what splines of them tell of the table is taken off.
    fitted = _flexible(mechanism.terms.features, columns, design, scm.blocks)
    if isinstance(mechanism, Classification):
        learnt = releases.learnt.get(node)
        chances = mechanism.probabilities(list(columns.T[:, :, None]))[..., 0].T if learnt is None else learnt
        of_labels = [_label_scores(chances, target.astype(np.int64), fitted, part) for part in directions]
        return of_labels, fitted.shape[1]
    along = [_beside(part, fitted) * mechanism.residuals[:, None] for part in directions]
    return [*along, *_shape_scores(mechanism.residuals, after, fitted)], fitted.shape[1]


def _root_scores(values: FloatArray, num_labels: int, after: FloatArray) -> list[FloatArray]:
    constant = np.ones_like(after)
    if num_labels:
        shown = np.eye(num_labels)[values.astype(np.int64)][:, 1:]
        return [_beside(after, constant) * (shown - shown.mean(axis=0))]
    centred = values - values.mean()
    return [_beside(after, constant) * centred[:, None], *_shape_scores(centred, after, constant)]


def _shape_scores(residuals: FloatArray, after: FloatArray, nuisance: FloatArray) -> list[FloatArray]:
    """Return scores of waves of the residuals' ranks: the second sees scatter, all together any other shape."""
    ranks = (stats.rankdata(residuals) - 0.5) / len(residuals)
    waves = np.cos(np.pi * ranks[:, None] * np.arange(1, _NUM_WAVES + 1))
    scores = _beside(after, nuisance) * _beside(waves, nuisance)
    return [scores[:, [1]], scores]


def _label_scores(chances: FloatArray, target: IntArray, design: FloatArray, along: FloatArray) -> FloatArray:
    left = (np.eye(chances.shape[1])[target] - chances)[:, 1:]
    chances = chances[:, 1:]

    def information(first: FloatArray) -> FloatArray:
        labels = range(chances.shape[1])
        return np.block(
            [[(first * (chances[:, [j]] * ((j == k) - chances[:, [k]]))).T @ design for k in labels] for j in labels]
        )

    def score(part: FloatArray) -> FloatArray:
        return np.hstack([part * left[:, [k]] for k in range(left.shape[1])])

    fitted = np.linalg.lstsq(information(design), information(along).T, rcond=_RANK**2)[0]
    return np.asarray(score(along) - score(design) @ fitted)


def _beside(columns: FloatArray, design: FloatArray) -> FloatArray:
    """Return what a design leaves of columns, nothing of those that it determines."""
    solution = np.linalg.lstsq(design.T @ design, design.T @ columns, rcond=_RANK**2)[0]
    left = columns - design @ solution
    return np.where(np.linalg.norm(left, axis=0) > _RANK * np.linalg.norm(columns, axis=0), left, 0.0)


def _flexible(features: Features, columns: FloatArray, design: FloatArray, blocks: IntArray) -> FloatArray:
    """Return the design with splines and products of the parents beside it, as many as there are rows for."""
    enough = min(len(columns), _WORTH_OF_A_CLUSTER * len(np.unique(blocks))) / (2 * _ROWS_PER_TERM)
    for num_knots in (_KNOTS, _FEW_KNOTS):
        terms = Terms.spline(features, columns, num_knots, products=True)
        if len(terms) + design.shape[1] <= enough:
            return np.hstack([design, terms.design(columns)])
    return design


def _refitted(scm: FittedState, mechanism: Mechanism, after: BoolArray) -> Mechanism:
    columns, target = _family(scm, mechanism.node)
    if isinstance(mechanism, Classification):
        return _refitted_labels(mechanism, columns, target.astype(np.int64))
    if mechanism.log and target.min() <= 0:
        row = row_name(scm.table.index, int(target.argmin()))
        raise FitError(
            f"{mechanism.node!r} was fitted on its logarithm, but is {target.min():g} in row {row!r}; drop such rows "
            "or fit the model to both tables",
            column=mechanism.node,
            row=row,
        )
    aim = mechanism.scaled(target)
    if mechanism.learner is not None:
        return _relearnt(scm, mechanism, columns, target)
    terms = _wide_enough(scm, mechanism, columns, aim, after)
    design = terms.design(columns)
    coefficients = least_squares(design, aim)
    residuals = aim - design @ coefficients
    residuals[np.abs(residuals) <= _ROUNDING * np.abs(aim).max()] = 0.0
    return replace(mechanism, terms=terms, coefficients=coefficients, residuals=residuals, formula=None)


def _refitted_labels(mechanism: Classification, columns: FloatArray, target: IntArray) -> Classification:
    terms = mechanism.terms
    if mechanism.learner is not None:
        # Terms can be fitted to either table alone, where a learner would have too few rows.
        terms = Terms.spline(terms.features, columns, _KNOTS, products=True)
    coefficients = fit_logistic(terms.design(columns), target, mechanism.num_labels)
    return replace(mechanism, terms=terms, coefficients=coefficients, learner=None)


def _left_out_chances(scm: FittedState, mechanism: Classification) -> FloatArray:
    columns, target = _family(scm, mechanism.node)
    chances = np.zeros((len(target), mechanism.num_labels))
    rows, seen = mechanism.terms.features.matrix(columns), np.unique(target).astype(np.int64)
    chances[:, seen] = left_out_predictions(mechanism.learner, rows, target, scm.blocks, "predict_proba")
    return chances


def _relearnt(scm: FittedState, mechanism: Regression, columns: FloatArray, target: FloatArray) -> Regression:
    """Return the learner fitted to both tables, with residuals of rows left out: it knows its own rows by heart."""
    features = mechanism.terms.features
    family = Family(mechanism.node, features, columns, target, scm.blocks, True, "AUTO", scm.random_seed)
    form = Candidate(mechanism.rung, mechanism.terms, _NONE[:, None], _NONE, _NONE, mechanism.rung, mechanism.log)
    return fit_regression(family, form, mechanism.ladder)


def _wide_enough(
    scm: FittedState, mechanism: Regression, columns: FloatArray, aim: FloatArray, after: BoolArray
) -> Terms:
    """Return the mechanism's own terms, or richer ones where parents have moved to where those do not fit.

    Each table may have coefficients of its own here, so that a changed mechanism is not taken for a bent one.
    """
    features = mechanism.terms.features
    probe = Probe.of(features.matrix(columns), scm.blocks, stream(scm.random_seed, f"probe {mechanism.node}"))
    kinds = [(Terms.quadratic(features, columns))]
    kinds += [Terms.spline(features, columns, _KNOTS, products=products) for products in (False, True)]
    best = mechanism.terms
    for terms in (best, *kinds):
        if len(terms) < len(best) or len(aim) < 2 * _ROWS_PER_TERM * len(terms):
            continue
        design = terms.design(columns)
        both = np.hstack([design, design * after[:, None]])
        residuals = aim - both @ least_squares(both, aim)
        exact = np.abs(residuals).max() <= _ROUNDING * np.abs(aim).max()
        best = terms
        if exact or probe.p_value(residuals, both) > _MISFIT:
            return best
    return mechanism.terms


def _part(scm: FittedState, rows: BoolArray) -> FittedState:
    if rows.all():
        return scm
    blocks = np.unique(scm.blocks[rows], return_inverse=True)[1]
    return replace(scm, table=scm.table[rows], blocks=blocks, observed={})


def _family(scm: FittedState, node: str) -> tuple[FloatArray, FloatArray]:
    return scm.table[list(scm.mechanisms[node].parents)].to_numpy(), scm.table[node].to_numpy()
