"""How much: the average effect of one node on another, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import GraphError
from causalkit.finding import Finding
from causalkit.scm.adjustment import adjustment_set
from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import block_sums, interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.interventions import Intervention, Shift, check_interventions, describe, encode
from causalkit.scm.noise import abduct
from causalkit.scm.outcomes import Outcome
from causalkit.scm.propagate import propagate
from causalkit.scm.questions import mean_replicates
from causalkit.scm.sensitivity import robustness
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState

# A spread below this share of the outcome's size is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, repr=False)
class EffectResult(Finding):
    """The difference that a treatment makes to the mean of an outcome.

    Attributes
    ----------
    treatment, outcome : str
    contrast : str
        Which two worlds are compared, in words.
    value : float
        In the unit of the outcome.
    interval : tuple of float
        95 %, over refits on resampled blocks.
    experimental : bool
        True where the treatment was a knob, set at random by design; False: observational.
    caveats : list of str
    cohens_d : float
        `value` over the outcome's standard deviation, of both arms pooled as the root of their mean variance (Cohen
        1988, *Statistical Power Analysis*, ch. 2). The arms are the recorded runs, each with the noise it had, under
        either setting. NaN where no run differs from another: there is no spread to measure by.
    d_interval : tuple of float
        95 %, like `interval`.
    adjustment : tuple of str, or None
        Nodes that suffice to be held fixed for the effect to be read off recorded rows; see
        `causalkit.scm.adjustment.adjustment_set`. Empty: none are needed. None: the graph has no way from treatment to
        outcome, and the effect is 0 by the graph alone.
    robustness : float or None
        Share of what is left of both treatment and outcome (partial R2) that an unmeasured common cause would have to
        explain to bring the effect to 0, in a straight line through the recorded rows; see
        `causalkit.scm.sensitivity.robustness`. None for a knob, or where the rows have nothing to compare.
    robustness_interval_edge : float or None
        The share that would bring its 95 % interval to touch 0.

    Examples
    --------
    >>> EffectResult("depth", "total_ms", "do(depth +1)", 2.0, (1.5, 2.5), True, []).sentence
    'do(depth +1) changes total_ms by +2.00 on average, 95 % interval +1.50 to +2.50.'
    """

    treatment: str
    outcome: str
    contrast: str
    value: float
    interval: tuple[float, float]
    experimental: bool
    caveats: list[str]
    cohens_d: float = float("nan")
    d_interval: tuple[float, float] = (float("nan"), float("nan"))
    adjustment: tuple[str, ...] | None = ()
    robustness: float | None = None
    robustness_interval_edge: float | None = None

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.adjustment is None:
            return (
                f"{self.contrast} leaves {self.outcome} as it is: the graph has no way from {self.treatment} to "
                f"{self.outcome}."
            )
        kind = "" if self.experimental else " (observational)"
        return (
            f"{self.contrast} changes {self.outcome} by {number(self.value, signed=True)} on average, "
            f"95 % interval {interval(self.interval, signed=True)}{kind}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the effect as one row."""
        low, high = self.interval
        d_low, d_high = self.d_interval
        row = {
            "treatment": self.treatment,
            "outcome": self.outcome,
            "contrast": self.contrast,
            "value": self.value,
            "low": low,
            "high": high,
            "experimental": self.experimental,
            "cohens_d": self.cohens_d,
            "d_low": d_low,
            "d_high": d_high,
            "robustness": self.robustness,
            "robustness_interval_edge": self.robustness_interval_edge,
        }
        return pd.DataFrame([row])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the effect with its interval; see `causalkit.plots.effects.plot_effects`."""
        from causalkit.plots.effects import plot_effects

        return plot_effects([self], ax=ax)


def effect(
    scm: FittedState,
    treatment: str,
    outcome: str,
    contrast: float,
    values: Sequence[Any] | None,
    random_seed: int,
) -> EffectResult:
    """Answer `FittedSCM.effect`: two arms over the same rows and the same noise, in every refit."""
    about = Outcome.of(scm, outcome)
    before, after = _arms(scm, treatment, contrast, values)
    refuse_same(treatment, about)
    refuse_biased(scm, after, [about.node])
    low_arm, high_arm = mean_replicates(scm, [before, after], random_seed)
    num_blocks = scm.replicate_weights.shape[1]
    difference = about.mean(high_arm) - about.mean(low_arm)
    sizes = difference / _spread(scm, [before, after], about)
    adjustment = adjustment_set(scm.graph, treatment, about.node)
    robust = _robustness(scm, treatment, about, adjustment, [arm[treatment] for arm in (before, after) if before])
    told = (caveat for arm in (before, after) if arm for caveat in caveats_of(scm, arm, about.node))
    return EffectResult(
        treatment,
        outcome,
        describe(after) + (f" instead of {_shown(before[treatment])}" if before else ""),
        float(difference[0]),
        interval95(difference[1:], num_blocks),
        scm.role(treatment) == "knob",
        [*dict.fromkeys(told), *_fragile(treatment, outcome, robust)],
        float(sizes[0]),
        interval95(sizes[1:], num_blocks),
        adjustment,
        *(robust or (None, None)),
    )


def refuse_same(treatment: str, outcome: Outcome) -> None:
    """Refuse to ask what a node does to itself.

    Raises
    ------
    GraphError
        If treatment and outcome are one node.
    """
    if outcome.node == treatment:
        raise GraphError(
            f"{treatment!r} is both treatment and outcome; ask for its effect on another node", node=treatment
        )


def listed(values: Any) -> list[Any] | None:
    """Return values as a list of plain ones; None if they are no flat sequence."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray | pd.Series | pd.Index):
        return None
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _robustness(
    scm: FittedState, treatment: str, outcome: Outcome, adjustment: tuple[str, ...] | None, pair: list[Intervention]
) -> tuple[float, float] | None:
    if adjustment is None or scm.role(treatment) == "knob":
        return None
    return robustness(scm, treatment, outcome, adjustment, pair or None)


def _fragile(treatment: str, outcome: str, robust: tuple[float, float] | None) -> list[str]:
    if robust is None:
        return []
    return [
        f"observational: an unmeasured common cause that explains {robust[0]:.0%} of what is left of both {treatment} "
        f"and {outcome} would bring it to zero, and {robust[1]:.0%} its interval to touch zero".replace("%", " %")
    ]


def _spread(scm: FittedState, arms: list[Mapping[str, Intervention]], outcome: Outcome) -> FloatArray:
    """Return the outcome's standard deviation, both arms pooled, in the rows and then in each replicate of them.

    The mechanisms stay as fitted: least squares leaves the least variance, which a refit next to it hardly changes.
    """
    noise = abduct(scm, scm.table, [node for node in scm.graph if node not in scm.derived])
    weights = np.vstack([np.ones(scm.replicate_weights.shape[1]), scm.replicate_weights])
    variances, rounding = [], 0.0
    for arm in arms:
        values = propagate(scm, noise, encode(arm, scm.levels), until=outcome.node)[outcome.node]
        column = outcome.column(values)[:, 0]
        centred = column - column.mean()
        sums = weights @ block_sums(np.column_stack([np.ones_like(centred), centred, centred**2]), scm.blocks)
        variances.append(sums[:, 2] / sums[:, 0] - (sums[:, 1] / sums[:, 0]) ** 2)
        rounding = max(rounding, _ROUNDING * float(np.abs(column).max()))
    pooled = np.sqrt(np.maximum(np.mean(variances, axis=0), 0.0))
    return np.where(pooled > rounding, pooled, np.nan)


def _shown(value: Intervention) -> str:
    return str(value) if isinstance(value, str | bool) else f"{value:g}"


def _arms(
    scm: FittedState, treatment: str, contrast: float, values: Sequence[Any] | None
) -> tuple[Mapping[str, Intervention], Mapping[str, Intervention]]:
    check_interventions({treatment: Shift(contrast)}, scm.graph)
    labels = scm.levels.get(treatment)
    seen = np.unique(scm.table[treatment]).tolist() if labels is None else list(labels)
    if values is None and len(seen) == 2:
        values = seen
    if values is None and labels is not None:
        raise GraphError(
            f"{treatment!r} holds labels; say which two to compare: values={tuple(labels[:2])!r}", node=treatment
        )
    if values is None:
        return {}, {treatment: Shift(contrast)}
    pair = listed(values)
    if pair is None or len(pair) != 2 or any(callable(value) for value in pair):
        raise GraphError(
            f"values compares two settings of {treatment!r}, but is {values!r}; give (low, high)", node=treatment
        )
    first, second = (check_interventions({treatment: value}, scm.graph, scm.levels) for value in pair)
    return first, second
