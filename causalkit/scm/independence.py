"""Tests of whether one column is independent of another, given some others: thousands on one table, in seconds.

The generalised covariance measure (Shah & Peters 2020, *The hardness of conditional independence testing and the
generalised covariance measure*): what the given columns leave unexplained of the one must not move with what they leave
unexplained of the other. Here both are residuals of least squares on splines and products of the given columns; beside
the residuals themselves their sine and cosine are compared, and their product is weighted with each given column
(Scheidegger, Hörrmann & Bühlmann 2022), so that dependence without correlation is seen too. The p-values of all these
comparisons become one by the Cauchy combination (Liu & Xie 2020), which holds however they depend on each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import linalg, special

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray

# Rows, or five times the groups of rows, that one fitted coefficient needs.
_ROWS_A_COEFFICIENT = 10
_WORTH_OF_A_GROUP = 5
# Beyond three standard deviations a column grows by its logarithm: no single row decides a test.
_TAIL = 3.0
_IQR_OF_NORMAL = 1.349
# Waves a standard deviation that tell even and odd dependence from the straight one of the residual itself.
_EVEN, _ODD = 1.5, 2.0
_KNOTS = (0.25, 0.5, 0.75)
_MAX_LEVELS = 10
# Share of its variance below which a column counts as computed from the given ones.
_DETERMINED = 1e-6
_RIDGE = 1e-9
# Richest first: basis columns a given node, and how many of them enter the products of two.
_RICHNESS = ((6, 2), (6, 1), (3, 1), (3, 0), (1, 0))


class Outcome(NamedTuple):
    """The largest t-statistic of a test and its p-value; both nan where a column is computed from the given ones."""

    statistic: float
    p_value: float


class Independence:
    """Tests of conditional independence on one table.

    Parameters
    ----------
    table : pandas.DataFrame
        One float column per node, nothing missing.
    levels : mapping of str to sequence
        The labels of the columns that hold codes of labels.
    blocks : ndarray of int, optional
        The group of each row; rows of different groups are independent. Default: all rows are.

    Examples
    --------
    >>> x, y, z = np.random.default_rng(0).normal(size=(3, 500))
    >>> table = pd.DataFrame({"x": x, "y": x + y, "z": x + y + z})
    >>> tests = Independence(table, {})
    >>> tests.test([("x", "z")], given=[])["x", "z"].p_value < 0.001
    True
    >>> tests.test([("x", "z")], given=["y"])["x", "z"].p_value < 0.05
    False
    """

    def __init__(self, table: pd.DataFrame, levels: Mapping[str, Sequence[Any]], blocks: IntArray | None = None):
        order = np.arange(len(table)) if blocks is None else np.argsort(blocks, kind="stable")
        self._starts = None if blocks is None else np.unique(blocks[order], return_index=True)[1]
        self._nodes = {node: _read(table[node].to_numpy()[order], node in levels) for node in table}
        self._num_rows = len(table)
        self._num_units = len(table) if self._starts is None else len(self._starts)

    def test(self, pairs: Collection[tuple[str, str]], given: Collection[str]) -> dict[tuple[str, str], Outcome]:
        """Test each pair of columns given the same others."""
        if not pairs:
            return {}
        # By name, so that no result depends on the order in which edges were added.
        given = sorted(given)
        design = self._design(given)
        left = self._residuals(design, sorted({node for pair in pairs for node in pair}))
        weights = np.hstack([np.ones((self._num_rows, 1)), *(self._nodes[node].basis[:, :1] for node in given)])
        found = {}
        for first in sorted({pair[0] for pair in pairs}):
            others = [pair[1] for pair in pairs if pair[0] == first]
            outcomes = self._compare(left, first, others, weights, design.shape[1])
            found.update({(first, other): outcome for other, outcome in zip(others, outcomes, strict=True)})
        return found

    def _design(self, given: Sequence[str]) -> FloatArray:
        bases = [self._nodes[node].basis for node in given]
        enough = min(self._num_rows, _WORTH_OF_A_GROUP * self._num_units) / _ROWS_A_COEFFICIENT
        for width, mixed in _RICHNESS:
            singles = [basis[:, :width] for basis in bases]
            products = [
                (a[:, :mixed, None] * b[:, None, :mixed]).reshape(self._num_rows, -1)
                for a, b in combinations(bases, 2)
            ]  # fmt: skip
            design = np.hstack([np.ones((self._num_rows, 1)), *singles, *products])
            if design.shape[1] <= enough:
                break
        return design

    def _residuals(self, design: FloatArray, nodes: Sequence[str]) -> _Residuals:
        """Return what the design leaves of each node's columns, and of the cosine and the sine of that."""
        columns = np.hstack([self._nodes[node].columns for node in nodes])
        owner = np.concatenate([[node] * self._nodes[node].columns.shape[1] for node in nodes])
        shaped = np.concatenate([[self._nodes[node].shaped] * self._nodes[node].columns.shape[1] for node in nodes])
        gram = design.T @ design
        factor = linalg.cho_factor(gram + _RIDGE * np.trace(gram) * np.eye(len(gram)), check_finite=False)

        def leave(values: FloatArray) -> FloatArray:
            return np.asarray(values - design @ linalg.cho_solve(factor, design.T @ values, check_finite=False))

        plain = leave(columns)
        spread = plain.std(axis=0)
        known = spread > np.sqrt(_DETERMINED)
        plain, owner, shaped, spread = plain[:, known], owner[known], shaped[known], spread[known]
        scaled = plain / spread
        curved = scaled[:, shaped]
        bent = leave(np.hstack([np.cos(_EVEN * curved), np.sin(_ODD * curved)]))
        owners = np.concatenate([owner, owner[shaped], owner[shaped]])
        linear = np.arange(len(owners)) < len(owner)
        return _Residuals(np.hstack([scaled, bent]), owners, linear)

    def _compare(
        self, left: _Residuals, first: str, others: Sequence[str], weights: FloatArray, num_fitted: int
    ) -> list[Outcome]:
        own = left.values[:, left.owner == first]
        num_plain = int(left.linear[left.owner == first].sum())
        weighted = (own[:, :num_plain, None] * weights[:, None, 1:]).reshape(self._num_rows, -1)
        mine = np.hstack([own, weighted])
        total = mine.T @ left.values
        # Fitted residuals are too small, their squares twice: the jackknife's correction errs on the safe side
        # (HC3: MacKinnon & White 1985).
        freedom = (1 - num_fitted / self._num_rows) ** 2
        spread = self._squares(mine, left.values)
        t = np.abs(total) * np.sqrt(freedom / np.maximum(spread, np.finfo(float).tiny))
        p = 2 * (special.ndtr(-t) if self._starts is None else special.stdtr(self._num_units - 1, -t))
        # Weighted products are formed of plain residuals only.
        counted = np.ones(t.shape, dtype=bool)
        counted[own.shape[1] :] = left.linear
        return [_combine(t, p, counted & (left.owner == other)) for other in others]

    def _squares(self, mine: FloatArray, others: FloatArray) -> FloatArray:
        """Return the sum of squares of the sums of products over each block."""
        if self._starts is None:
            return np.asarray((mine**2).T @ others**2)
        sums = np.add.reduceat(mine[:, :, None] * others[:, None, :], self._starts, axis=0)
        return np.asarray((sums**2).sum(axis=0))


class _Residuals(NamedTuple):
    values: FloatArray
    owner: np.ndarray[Any, np.dtype[np.str_]]
    linear: BoolArray


class _Node(NamedTuple):
    columns: FloatArray
    basis: FloatArray
    shaped: bool


def _read(values: FloatArray, is_label: bool) -> _Node:
    seen, counts = np.unique(values, return_counts=True)
    if is_label and len(seen) > 2:
        common = np.sort(seen[np.argsort(-counts, kind="stable")][: min(_MAX_LEVELS, len(seen) - 1)])
        marks = _standardise((values[:, None] == common).astype(float))
        return _Node(marks, marks, False)
    scaled = _standardise(_tamed(values)[:, None])
    if len(seen) <= 1:
        return _Node(scaled, scaled, False)
    return _Node(scaled, _basis(scaled[:, 0], len(seen)), len(seen) > 2)


def _tamed(values: FloatArray) -> FloatArray:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    unit = (high - low) / _IQR_OF_NORMAL or values.std()
    steps = (values - middle) / unit if unit else values - middle
    beyond = np.maximum(np.abs(steps) - _TAIL, 0.0)
    return np.asarray(np.where(beyond > 0, np.sign(steps) * (_TAIL + np.log1p(beyond)), steps))


def _standardise(columns: FloatArray) -> FloatArray:
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0))


def _basis(values: FloatArray, num_seen: int) -> FloatArray:
    """Return a cubic spline with knots at the quartiles, constant left out, its columns orthonormal and plainest first.

    A column of few values gets as many columns as can tell them apart.
    """
    powers = [values, values**2, values**3]
    bends = [np.maximum(values - np.quantile(values, knot), 0.0) ** 3 for knot in _KNOTS]
    raw = np.column_stack([np.ones_like(values), *powers, *bends])[:, :num_seen]
    orthogonal, triangle = np.linalg.qr(raw)
    kept = np.abs(np.diag(triangle)) > np.sqrt(_DETERMINED * len(values))
    kept[0] = False
    return np.asarray(orthogonal[:, kept] * np.sqrt(len(values)))


def _combine(t: FloatArray, p: FloatArray, counted: BoolArray) -> Outcome:
    if not counted.any():
        return Outcome(np.nan, np.nan)
    # The Cauchy quantile of p is 1 / (pi p) to all digits where p is small, and cannot be computed as a tangent there.
    chances = np.clip(p[counted], 1e-300, 0.99)
    quantiles = np.where(chances < 1e-12, 1 / (np.pi * chances), np.tan(np.pi * (0.5 - chances)))
    mean = float(quantiles.mean())
    combined = 1 / (np.pi * mean) if mean > 1e12 else 0.5 - np.arctan(mean) / np.pi
    return Outcome(float(t[counted].max()), float(combined))
