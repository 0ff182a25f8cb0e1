"""Judge every mechanism on rows it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.blocks import block_sums, group_codes, interval95, resampled_weights
from causalkit.scm.finding import Finding
from causalkit.streams import stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_REPLICATES = 500
# Below this, what is left of a node's variance is rounding.
_EXACT = 1e-6
# A spread below this share of the values' size is rounding: the node is constant.
_ROUNDING = 1e-12
_CONSTANT = "constant"


@dataclass(frozen=True)
class NodeScore:
    """How well one mechanism predicts its node on held-out rows.

    Attributes
    ----------
    node, mechanism : str
    r2 : float
        Share of the node's held-out variance that its parents explain; negative is worse than the mean.
    low, high : float
        95 % interval of `r2`, by resampling held-out blocks.
    passed : bool
    verdict : str
        The same in words.
    """

    node: str
    mechanism: str
    r2: float
    low: float
    high: float
    passed: bool
    verdict: str


@dataclass(frozen=True, repr=False)
class ValidationReport(Finding):
    """The held-out score and verdict of every modelled node.

    Attributes
    ----------
    scores : tuple of NodeScore
    threshold : float
        The R2 that *every* node has to reach: on an average a node of pure noise would hide behind good ones.
    num_held_out : int
        Rows the mechanisms were judged on.
    split : str
        What was kept apart: ``"rows"``, or the name of the column whose values were never on both sides.

    Examples
    --------
    >>> good = NodeScore("search_ms", "linear", 0.95, 0.9, 0.97, True, "predicts")
    >>> bad = NodeScore("rank_ms", "linear", 0.2, 0.1, 0.3, False, "below the threshold")
    >>> ValidationReport((good, bad), threshold=0.7, num_held_out=50, split="rows").failed_nodes
    ('rank_ms',)
    """

    scores: tuple[NodeScore, ...]
    threshold: float
    num_held_out: int
    split: str

    @property
    def r2_scores(self) -> dict[str, float]:
        """Held-out R2 by node."""
        return {score.node: score.r2 for score in self.scores}

    @property
    def mean_r2(self) -> float:
        """Mean of the held-out R2; no verdict hangs on it. NaN where no node is modelled."""
        return float(np.mean([score.r2 for score in self.scores])) if self.scores else float("nan")

    @property
    def failed_nodes(self) -> tuple[str, ...]:
        """Nodes below the threshold, in the order of the graph."""
        return tuple(score.node for score in self.scores if not score.passed)

    @property
    def passed(self) -> bool:
        """Whether every node reached the threshold."""
        return not self.failed_nodes

    @property
    def sentence(self) -> str:
        """The finding in words."""
        held = f"{self.num_held_out} held-out rows (split by {self.split})"
        if self.passed:
            return f"All {len(self.scores)} modelled nodes reach R2 {self.threshold:g} on {held}."
        failed = ", ".join(f"{score.node} (R2 {score.r2:.2f})" for score in self.scores if not score.passed)
        return (
            f"{len(self.failed_nodes)} of {len(self.scores)} modelled nodes stay below R2 {self.threshold:g} "
            f"on {held}: {failed}."
        )

    @property
    def caveats(self) -> list[str]:
        """What to keep in mind when the model is used."""
        exact = [score.node for score in self.scores if 1 - score.r2 < _EXACT and score.verdict != _CONSTANT]
        leak = [
            f"{node} is predicted without any error: is it computed from its parents (declare it as derived)?"
            for node in exact
        ]
        if self.passed:
            return leak
        lost = "a mechanism that predicts single runs badly still gives the mean over runs, with a wider interval"
        return [*leak, f"{', '.join(self.failed_nodes)}: {lost}"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per node."""
        names = [field.name for field in fields(NodeScore)]
        return pd.DataFrame([[getattr(score, name) for name in names] for score in self.scores], columns=names)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the scores; see `causalkit.plots.validation.plot_validation`."""
        from causalkit.plots.validation import plot_validation

        return plot_validation(self, ax=ax)


def split_rows(groups: pd.Series[Any] | None, num_rows: int, test_size: float, rng: np.random.Generator) -> BoolArray:
    """Return which rows are held out: whole groups where groups are known, single rows otherwise."""
    units = np.arange(num_rows) if groups is None else group_codes(groups)
    num_units = int(units.max()) + 1
    return np.isin(units, rng.permutation(num_units)[: round(test_size * num_units)])


def score_node(
    node: str,
    mechanism: str,
    actual: FloatArray,
    predicted: FloatArray,
    blocks: IntArray,
    threshold: float,
    random_seed: int,
) -> NodeScore:
    """Score one node on held-out rows.

    Parameters
    ----------
    node, mechanism : str
        Names, for the report.
    actual, predicted : ndarray, shape (rows,)
    blocks : ndarray of int, shape (rows,)
        Rows that are resampled together.
    threshold : float
        The R2 to reach.
    random_seed : int

    Returns
    -------
    NodeScore
        With the percentile interval of the cluster bootstrap.
    """
    error = actual - predicted
    # Around the mean first: sums of squares of a large offset would cancel.
    centred = actual - actual.mean()
    codes = np.unique(blocks, return_inverse=True)[1]
    sums = block_sums(np.column_stack([np.ones_like(error), centred, centred**2, error**2]), codes)
    weights = resampled_weights(len(sums), _REPLICATES, stream(random_seed, f"score {node}"))
    rounding = max(_ROUNDING * float(np.abs(actual).max()), np.finfo(float).tiny ** 0.5)
    r2 = float(_r2(sums.sum(axis=0), rounding))
    low, high = interval95(_r2(weights @ sums, rounding))
    passed = r2 >= threshold
    verdict = _CONSTANT if passed and np.ptp(actual) <= rounding else _verdict(r2, passed)
    return NodeScore(node, mechanism, r2, low, high, passed, verdict)


def _r2(sums: FloatArray, rounding: float) -> FloatArray:
    count, total, squares, errors = np.moveaxis(sums, -1, 0)
    # A constant node that is predicted as such scores 1, not rounding divided by rounding.
    variance = np.maximum(squares - total**2 / count, count * rounding**2)
    return np.asarray(1 - errors / variance)


def _verdict(r2: float, passed: bool) -> str:
    if passed:
        return "predicts"
    return "worse than the mean" if r2 < 0 else "below the threshold"
