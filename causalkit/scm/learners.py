"""The upper rungs: learners of scikit-learn, each on one thread and from one seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from causalkit.scm.arrays import FloatArray, IntArray

_NUM_FOLDS = 3
_NUM_TREES = 100
# Landmarks of the kernel: as many directions as a ridge on a thousand rows can use.
_NUM_LANDMARKS = 200


def _boosting(random_seed: int, _num_rows: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=_NUM_TREES, early_stopping=False, random_state=random_seed % 2**32)


def _forest(random_seed: int, _num_rows: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(_NUM_TREES, min_samples_leaf=5, random_state=random_seed % 2**32)


def _kernel(random_seed: int, num_rows: int) -> Any:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Fewer than the rows that are left when a fold is left out.
    num_landmarks = min(_NUM_LANDMARKS, max(1, num_rows // 2))
    landmarks = Nystroem(n_components=num_landmarks, random_state=random_seed % 2**32)
    return make_pipeline(StandardScaler(), landmarks, RidgeCV(np.logspace(-3, 2, 6)))


LEARNERS: dict[str, Callable[[int, int], Any]] = {"boosting": _boosting, "forest": _forest, "kernel": _kernel}


def left_out_predictions(
    learner: Any, rows: FloatArray, target: FloatArray, blocks: IntArray, method: str = "predict"
) -> FloatArray:
    """Return predictions of each row by the learner fitted to other blocks.

    Parameters
    ----------
    learner : scikit-learn estimator
    rows : ndarray, shape (rows, features)
    target : ndarray, shape (rows,)
    blocks : ndarray of int, shape (rows,)
    method : str, default "predict"

    Returns
    -------
    ndarray, shape (rows,) or (rows, labels)
    """
    from sklearn.base import clone
    from sklearn.model_selection import GroupKFold, cross_val_predict

    folds = GroupKFold(_NUM_FOLDS)
    # More threads than cores make histogram boosting twenty times slower; one makes it the same everywhere.
    with threadpool_limits(1):
        return np.asarray(cross_val_predict(clone(learner), rows, target, groups=blocks, cv=folds, method=method))
