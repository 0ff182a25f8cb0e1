"""Rows in blocks that are resampled together: refits, their spread, and errors on rows left out.

Runs of one question are alike, so they are drawn together or not at all (the cluster bootstrap: Cameron, Gelbach &
Miller 2008, *Bootstrap-based improvements for inference with clustered errors*). Independent rows are dealt at random
into blocks: resampling blocks of independent rows is as good, and a refit costs one small solve from the blocks' summed
moments, whatever the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from causalkit.errors import FitError
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.tables import row_name

# Enough that the spread of resampled blocks is itself known to 5 % (1 / sqrt(2 * 300)), few enough to be fast.
MAX_BLOCKS = 300
# Folds in which blocks are left out: more change nothing that can be seen (Kohavi 1995).
NUM_FOLDS = 20
# Relative to unit-variance terms; keeps a constant or repeated parent from making the solve singular.
_RIDGE = 1e-9


def deal_blocks(groups: pd.Series[Any] | None, num_rows: int, rng: np.random.Generator) -> IntArray:
    """Return the block of each row: its group, or a random one; never more than `MAX_BLOCKS`."""
    if groups is None:
        return rng.permutation(num_rows) % min(num_rows, MAX_BLOCKS)
    codes = group_codes(groups)
    num_groups = int(codes.max()) + 1
    if num_groups <= MAX_BLOCKS:
        return codes
    return np.asarray((rng.permutation(num_groups) % MAX_BLOCKS)[codes], dtype=np.int64)


def group_codes(groups: pd.Series[Any]) -> IntArray:
    """Return the number of each row's group, in the order of the groups' names.

    Raises
    ------
    FitError
        If a row has no group (``.column``, ``.row``).
    """
    if isinstance(groups, pd.DataFrame):
        name = groups.columns[0]
        raise FitError(f"the trace table has more than one column {name!r} to group by; keep one", column=name)
    absent = groups.isna().to_numpy()
    if absent.any():
        row = row_name(groups.index, int(np.argmax(absent)))
        raise FitError(
            f"column {groups.name!r} groups the rows but has no value in row {row!r} ({absent.sum()} of {len(groups)} "
            "rows); fill or drop such rows",
            column=groups.name,
            row=row,
        )
    return pd.factorize(groups, sort=True)[0].astype(np.int64)


def resampled_weights(num_blocks: int, num_replicates: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each block is drawn in each replicate, shape (replicates, blocks)."""
    return rng.multinomial(num_blocks, np.full(num_blocks, 1 / num_blocks), size=num_replicates).astype(float)


def interval95(replicates: FloatArray, num_blocks: int | None = None) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap replicates.

    Their k-th smallest of B stands at k / (B + 1) (Davison & Hinkley 1997, sec. 2.4); NumPy's default would put it
    further out, and make the interval of 400 replicates 2 % too narrow.

    Parameters
    ----------
    replicates : ndarray, shape (replicates,)
    num_blocks : int, optional
        Widen the interval about the median, as resampling few blocks asks for: by ``sqrt(blocks / (blocks - 1))`` and
        the quantile of t in place of the normal one's (Cameron & Miller 2015, *A practitioner's guide to
        cluster-robust inference*, sec. VI), but never past the outermost replicate, so that a share stays a share.
    """
    low, high = np.quantile(replicates, [0.025, 0.975], method="weibull")
    if num_blocks is not None and num_blocks > 1:
        wider = np.sqrt(num_blocks / (num_blocks - 1)) * stats.t.ppf(0.975, num_blocks - 1) / stats.norm.ppf(0.975)
        centre = np.median(replicates)
        low, high = np.clip(centre + wider * (np.array([low, high]) - centre), replicates.min(), replicates.max())
    return float(low), float(high)


def block_sums(values: FloatArray, blocks: IntArray, num_blocks: int | None = None) -> FloatArray:
    """Return the sum of `values` (rows first) over the rows of each block."""
    sums = np.zeros((int(blocks.max()) + 1 if num_blocks is None else num_blocks, *values.shape[1:]))
    np.add.at(sums, blocks, values)
    return sums


def left_out_errors(design: FloatArray, target: FloatArray, blocks: IntArray | None) -> FloatArray:
    """Return each row's error under the least-squares fit to the other rows.

    Parameters
    ----------
    design : ndarray, shape (rows, terms)
    target : ndarray, shape (rows,)
    blocks : ndarray of int, shape (rows,), or None
        Rows of one block are left out together, a twentieth of the blocks at a time; None: each row alone, by the
        leverages (Allen 1974, the PRESS residuals).

    Returns
    -------
    ndarray, shape (rows,)
    """
    if blocks is not None:
        folds = np.unique(blocks % NUM_FOLDS, return_inverse=True)[1]
        coefficients = Moments.of(design, target, folds).left_out()
        return np.asarray(target - np.einsum("rt,rt->r", design, coefficients[folds]))
    inverse = np.linalg.inv(_gram(design))
    shared = design @ inverse
    leverage = np.einsum("rt,rt->r", shared, design)
    return np.asarray((target - shared @ (design.T @ target)) / np.maximum(1 - leverage, _RIDGE))


def least_squares(design: FloatArray, target: FloatArray) -> FloatArray:
    """Return least-squares coefficients, shape (terms,), of terms of like size.

    By the normal equations, which on many rows take a fifth of the time of decomposing the design, and one step of
    refinement, which gives back the digits that they lose (Bjorck 1996, *Numerical Methods for Least Squares*).
    """
    gram = design.T @ design
    inverse = np.linalg.pinv(gram, rcond=_RIDGE / 10, hermitian=True)
    coefficients = inverse @ (design.T @ target)
    return np.asarray(coefficients + inverse @ (design.T @ (target - design @ coefficients)))


def _gram(design: FloatArray) -> FloatArray:
    gram = design.T @ design
    gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram)
    return np.asarray(gram)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of ``x x'`` and ``x y`` over each block: all that least squares needs to know.

    Attributes
    ----------
    gram : ndarray, shape (blocks, terms, terms)
    cross : ndarray, shape (blocks, terms)
    """

    gram: FloatArray
    cross: FloatArray

    @classmethod
    def of(cls, design: FloatArray, target: FloatArray, blocks: IntArray, num_blocks: int | None = None) -> Moments:
        """Sum the moments of each block; of `num_blocks` where the last ones may have no row."""
        order = np.argsort(blocks, kind="stable")
        count = int(blocks.max()) + 1 if num_blocks is None else num_blocks
        starts = np.searchsorted(blocks[order], np.arange(count))
        parts = zip(np.split(design[order], starts[1:]), np.split(target[order], starts[1:]), strict=True)
        sums = [(part.T @ part, part.T @ aim) for part, aim in parts]
        return cls(np.stack([gram for gram, _ in sums]), np.stack([cross for _, cross in sums]))

    def solve(self, weights: FloatArray, penalty: FloatArray | float = 0.0) -> FloatArray:
        """Return the least-squares coefficients under block weights, shape (terms, replicates).

        `penalty`, shape (terms, terms), draws them to zero, as rows would whose moments it holds.
        """
        gram = np.tensordot(weights, self.gram, axes=1) + penalty
        cross = weights @ self.cross
        return self._solve(gram, cross).T

    def left_out(self) -> FloatArray:
        """Return the coefficients fitted to all blocks but one, shape (blocks, terms)."""
        return self._solve(self.gram.sum(axis=0) - self.gram, self.cross.sum(axis=0) - self.cross)

    @staticmethod
    def _solve(gram: FloatArray, cross: FloatArray) -> FloatArray:
        ridge = _RIDGE * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(gram.shape[1])
        return np.linalg.solve(gram + ridge, cross[..., None])[..., 0]
