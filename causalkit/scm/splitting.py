"""Which rows are held out: single rows, whole groups, or what came last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from causalkit.scm.arrays import BoolArray, IntArray
from causalkit.scm.blocks import group_codes


def split_rows(
    groups: pd.Series[Any] | None, num_rows: int, test_size: float, split: str, rng: np.random.Generator
) -> BoolArray:
    """Return which rows are held out.

    Parameters
    ----------
    groups : pandas.Series or None
        The group of each row.
    num_rows : int
    test_size : float
        Share of rows, or of groups.
    split : {"random", "group", "time"}
        ``"time"`` holds out the rows that stand last in the table.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (rows,)
    """
    if split == "time":
        return np.arange(num_rows) >= num_rows - round(test_size * num_rows)
    units = _units(groups, num_rows, split)
    num_units = int(units.max()) + 1
    return np.isin(units, rng.permutation(num_units)[: round(test_size * num_units)])


def deal_folds(
    groups: pd.Series[Any] | None, num_rows: int, k: int, split: str, rng: np.random.Generator
) -> list[BoolArray]:
    """Return which rows each of `k` folds holds out; with ``"time"`` the folds are stretches of the table."""
    if split == "time":
        units = np.arange(num_rows) * k // num_rows
        return [units == fold for fold in range(k)]
    units = _units(groups, num_rows, split)
    dealt = rng.permutation(int(units.max()) + 1) % k
    return [dealt[units] == fold for fold in range(k)]


def _units(groups: pd.Series[Any] | None, num_rows: int, split: str) -> IntArray:
    return np.arange(num_rows) if groups is None or split == "random" else group_codes(groups)
