"""The members of the panel that reads digits: ten classifiers, no two of which learn in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import BernoulliNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from causalkit.operators.tracing import trace

_FOLDS = 5
_HALF_INK = 8


@trace(operator_type="member")
@dataclass(frozen=True, eq=False)
class Member:
    """A trained classifier with a vote.

    Attributes
    ----------
    name : str
    classifier : object
        Of scikit-learn, trained.
    weight : float
        What its vote counts for: the log-odds that it is right, cross-validated on the images that it learnt from.
    """

    name: str
    classifier: Any
    weight: float

    def __call__(self, pixels: NDArray[np.float64]) -> int:
        """Return the digit that it takes the pixels for."""
        return int(self.classifier.predict(pixels.reshape(1, -1))[0])


def train_members(
    pixels: NDArray[np.float64], labels: NDArray[np.int64], *, random_seed: int = 0
) -> dict[str, list[Member]]:
    """Train seven members of the first ensemble and three of the second; takes a few seconds of one core.

    Parameters
    ----------
    pixels, labels : ndarray
        What they learn from.
    random_seed : int, default 0
        Decides what is random in their learning.

    Returns
    -------
    dict of str to list of Member
        By stage.
    """
    ensembles = {"ensemble_1": _seven(random_seed), "ensemble_2": _three(random_seed)}
    # With one thread, sums of products come out the same however many cores there are.
    with threadpool_limits(1):
        return {
            stage: [
                Member(name, classifier.fit(pixels, labels), _log_odds(classifier, pixels, labels))
                for name, classifier in classifiers.items()
            ]
            for stage, classifiers in ensembles.items()
        }


def _seven(seed: int) -> dict[str, Any]:
    return {
        # A tree of neighbours decides between equally distant ones in the same way with any number of threads.
        "nearest_neighbours": KNeighborsClassifier(3, algorithm="kd_tree"),
        "naive_bayes": BernoulliNB(binarize=_HALF_INK),
        "decision_tree": DecisionTreeClassifier(min_samples_leaf=2, random_state=seed),
        # The default solver stops early, and where it does depends on the machine's rounding.
        "logistic_regression": LogisticRegression(C=0.01, tol=1e-8, solver="newton-cg"),
        "support_vectors": SVC(),
        "quadratic_discriminant": make_pipeline(
            PCA(16, svd_solver="full"), QuadraticDiscriminantAnalysis(reg_param=0.05)
        ),
        "extra_trees": ExtraTreesClassifier(20, random_state=seed),
    }


def _three(seed: int) -> dict[str, Any]:
    return {
        "linear_discriminant": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
        "neural_network": MLPClassifier(
            (32,), alpha=0.01, learning_rate_init=0.01, max_iter=1000, tol=0.01, n_iter_no_change=3, random_state=seed
        ),
        "gradient_boosting": GradientBoostingClassifier(
            n_estimators=12, learning_rate=0.3, max_features=8, random_state=seed
        ),
    }


def _log_odds(classifier: Any, pixels: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    right = int((cross_val_predict(classifier, pixels, labels, cv=_FOLDS) == labels).sum())
    # Half a case more on either side: one that is always right has finite odds too.
    return log((right + 0.5) / (len(labels) - right + 0.5))
