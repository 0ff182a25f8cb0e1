"""Judge every mechanism on rows it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import t

from causalkit.finding import Finding
from causalkit.scm.attempts import Ladder

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Below this, what is left of a node's variance is rounding.
EXACT = 1e-6
CONSTANT, PROVEN = "constant", "proven from source"


@dataclass(frozen=True)
class NodeScore:
    """How well one mechanism does on held-out rows.

    Attributes
    ----------
    node, mechanism : str
    r2 : float
        Share of the node's held-out variance that its parents explain; negative is worse than the mean. For labels
        the share of the log-loss of the base rates (McFadden 1974), which means the same.
    low, high : float
        95 % interval of `r2`, by resampling held-out blocks.
    passed : bool
        Whether it is *predictive*: reaches the threshold.
    verdict : str
        The same in words.
    score : str
        ``"R2"`` or ``"log-loss skill"``: which of the two `r2` is.
    mse : float
        Mean squared error, in the node's unit squared; of labels the Brier score.
    nmse : float
        The same as a share of that of the mean or of the base rates.
    crps : float
        Continuous ranked probability score, in the node's unit; NaN for labels.
    unbiased : bool
        Whether what is left of held-out values depends on none of its parents on average. Means under interventions
        need no more.
    calibrated : bool
        Whether held-out values scatter around the prediction as the mechanism says, whatever its parents are. A
        correct mechanism with much honest noise is calibrated though not predictive.
    miscalibration : str
        What is off, in words; empty where nothing is.
    ladder : Ladder
        Which rungs were tried, and why it stopped.
    """

    node: str
    mechanism: str
    r2: float
    low: float
    high: float
    passed: bool
    verdict: str
    score: str = "R2"
    mse: float = float("nan")
    nmse: float = float("nan")
    crps: float = float("nan")
    unbiased: bool = True
    calibrated: bool = True
    miscalibration: str = ""
    ladder: Ladder = field(default_factory=lambda: Ladder(""))


@dataclass(frozen=True, repr=False)
class ValidationReport(Finding):
    """The held-out score and verdict of every modelled node.

    Attributes
    ----------
    scores : tuple of NodeScore
    threshold : float
        What `rule` asks for.
    num_held_out : int
        Rows the mechanisms were judged on.
    split : str
        What was kept apart: ``"rows"``, ``"time"``, or the name of the column whose values were never on both sides.
    rule : {"every", "mean"}
        Whether every node has to reach the threshold, or their mean. The mean is what comparable systems ask for; it
        passes a model in which a node of pure noise hides behind good ones, and is there for comparison only. A
        negative R2 fails under any rule.
    declarable : mapping of str to {"sum", "max"}
        Nodes that are a formula of their parents, though nobody said so.

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
    rule: str = "every"
    declarable: Mapping[str, str] = field(default_factory=dict)

    @property
    def r2_scores(self) -> dict[str, float]:
        """Held-out R2 by node."""
        return {score.node: score.r2 for score in self.scores}

    @property
    def mean_r2(self) -> float:
        """Mean of the held-out R2; NaN where no node is modelled."""
        return float(np.mean([score.r2 for score in self.scores])) if self.scores else float("nan")

    @property
    def failed_nodes(self) -> tuple[str, ...]:
        """Nodes below the threshold, in the order of the graph."""
        return tuple(score.node for score in self.scores if not score.passed)

    @property
    def passed(self) -> bool:
        """Whether the model reaches the threshold by its rule."""
        if self.rule == "mean" and self.scores:
            return self.mean_r2 >= self.threshold and all(score.r2 >= 0 for score in self.scores)
        return not self.failed_nodes

    @property
    def uncalibrated_nodes(self) -> tuple[str, ...]:
        """Nodes that scatter otherwise than their mechanisms say, in the order of the graph."""
        return tuple(score.node for score in self.scores if not score.calibrated)

    @property
    def sentence(self) -> str:
        """The finding in words."""
        held = f"{self.num_held_out} held-out rows (split by {self.split})"
        if not self.failed_nodes:
            return f"All {len(self.scores)} modelled nodes reach R2 {self.threshold:g} on {held}."
        failed = ", ".join(f"{score.node} ({_told(score)})" for score in self.scores if not score.passed)
        mean = f"; their mean is {self.mean_r2:.2f}, which is what rule='mean' asks for" if self.rule == "mean" else ""
        return (
            f"{len(self.failed_nodes)} of {len(self.scores)} modelled nodes stay below R2 {self.threshold:g} "
            f"on {held}: {failed}{mean}."
        )

    @property
    def advice(self) -> str:
        """What may help the nodes that failed: what was tried, and what their residuals look like."""
        return "; ".join(_advice(score) for score in self.scores if not score.passed)

    @property
    def caveats(self) -> list[str]:
        """What to keep in mind when the model is used."""
        known = (CONSTANT, PROVEN)
        exact = [score.node for score in self.scores if 1 - score.r2 < EXACT and score.verdict not in known]
        notes = [
            f"{node} is the {formula} of its parents: that is accounting; declare it: derived={{{node!r}: {formula!r}}}"
            for node, formula in self.declarable.items()
        ]
        notes += [
            f"{node} is predicted without any error: is it computed from its parents (then declare it or give its "
            "source), or is this leakage?"
            for node in exact
            if node not in self.declarable
        ]
        if self.failed_nodes:
            lost = "a mechanism that predicts single runs badly still gives the mean over runs, with a wider interval"
            notes.append(f"{', '.join(self.failed_nodes)}: {lost}")
        return notes + [f"{score.node}: {score.miscalibration}" for score in self.scores if not score.calibrated]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per node."""
        names = [column.name for column in fields(NodeScore) if column.name != "ladder"]
        return pd.DataFrame([[getattr(score, name) for name in names] for score in self.scores], columns=names)

    def ladder(self) -> pd.DataFrame:
        """Return one row per node and rung that was tried: its error on rows left out, and why the ladder stopped.

        ``error`` is the root mean squared error in the node's unit, of labels the log-loss; ``p_value`` belongs to the
        test whether the residuals still depend on the parents.
        """
        rows = [
            [
                score.node,
                attempt.rung,
                attempt.error,
                attempt.p_value,
                attempt.rung == score.ladder.chosen,
                score.ladder.stopped,
            ]
            for score in self.scores
            for attempt in score.ladder.attempts
        ]
        return pd.DataFrame(rows, columns=["node", "rung", "error", "p_value", "chosen", "stopped"])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the scores; see `causalkit.plots.validation.plot_validation`."""
        from causalkit.plots.validation import plot_validation

        return plot_validation(self, ax=ax)


def _told(score: NodeScore) -> str:
    return f"{score.score} {score.r2:.2f}" + (", worse than the mean" if score.r2 < 0 else "")


def _advice(score: NodeScore) -> str:
    tried = ", ".join(attempt.rung for attempt in score.ladder.attempts)
    look = score.miscalibration or "its residuals look like noise that the parents say nothing about"
    return f"{score.node}: tried {tried} ({score.ladder.stopped}); {look}: add the causes that are missing"


def pooled(scores: Sequence[tuple[NodeScore, int]], threshold: float) -> NodeScore:
    """Return the mean score of folds, weighted by their rows; its interval is that of the mean over folds.

    Examples
    --------
    >>> folds = [(NodeScore("y", "linear", r2, 0, 1, True, "predicts"), 50) for r2 in (0.8, 0.9)]
    >>> round(pooled(folds, 0.7).r2, 2)
    0.85
    """
    first = scores[0][0]
    weights = np.array([rows for _, rows in scores], float)

    def mean(name: str) -> float:
        return float(np.average([getattr(score, name) for score, _ in scores], weights=weights))

    r2 = mean("r2")
    spread = float(np.std([score.r2 for score, _ in scores], ddof=1)) if len(scores) > 1 else float("nan")
    reach = float(t.ppf(0.975, max(len(scores) - 1, 1))) * spread / np.sqrt(len(scores))
    rungs = dict.fromkeys(score.mechanism for score, _ in scores)
    off = dict.fromkeys(score.miscalibration for score, _ in scores if score.miscalibration)
    passed = r2 >= threshold
    verdict = "predicts" if passed else "worse than the mean" if r2 < 0 else "below the threshold"
    return NodeScore(
        first.node,
        ", ".join(rungs),
        r2,
        r2 - reach,
        r2 + reach,
        passed,
        verdict,
        first.score,
        mean("mse"),
        mean("nmse"),
        mean("crps"),
        all(score.unbiased for score, _ in scores),
        not off,
        "; ".join(off),
        first.ladder,
    )
