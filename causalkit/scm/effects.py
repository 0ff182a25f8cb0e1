"""How much: the average effect of one node on another, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import GraphError
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.finding import Finding
from causalkit.scm.interventions import Intervention, Shift, check_interventions, describe
from causalkit.scm.questions import mean_replicates
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState


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

    @property
    def sentence(self) -> str:
        """The finding in words."""
        kind = "" if self.experimental else " (observational)"
        return (
            f"{self.contrast} changes {self.outcome} by {number(self.value, signed=True)} on average, "
            f"95 % interval {interval(self.interval, signed=True)}{kind}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the effect as one row."""
        low, high = self.interval
        row = [self.treatment, self.outcome, self.contrast, self.value, low, high, self.experimental]
        names = ["treatment", "outcome", "contrast", "value", "low", "high", "experimental"]
        return pd.DataFrame([row], columns=names)

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
    node = _node_of(scm, outcome)
    before, after = _arms(scm, treatment, contrast, values)
    refuse_biased(scm, after, [node])
    low_arm, high_arm = mean_replicates(scm, [before, after], random_seed)
    difference = high_arm[outcome] - low_arm[outcome]
    return EffectResult(
        treatment,
        outcome,
        describe(after) + (f" instead of {_shown(before[treatment])}" if before else ""),
        float(difference[0]),
        interval95(difference[1:]),
        scm.role(treatment) == "knob",
        list(dict.fromkeys(caveat for arm in (before, after) if arm for caveat in caveats_of(scm, arm, node))),
    )


def _node_of(scm: FittedState, outcome: str) -> str:
    """Return the node that an outcome is about: itself, or that of which it is a label (``mode=fast``)."""
    node, _, label = outcome.rpartition("=")
    if node in scm.levels and label in map(str, scm.levels[node]):
        return node
    if outcome not in scm.graph:
        raise GraphError(f"{outcome!r} is no node of the model; known are {', '.join(scm.graph)}", node=outcome)
    labels = scm.levels.get(outcome, ())
    if len(labels) > 2:
        raise GraphError(
            f"{outcome!r} holds labels, which have no mean; ask for the share of one: {f'{outcome}={labels[0]}'!r}",
            node=outcome,
        )
    return outcome


def _shown(value: Intervention) -> str:
    return str(value) if isinstance(value, str | bool) else f"{value:g}"


def _arms(
    scm: FittedState, treatment: str, contrast: float, values: Sequence[float] | None
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
    if np.shape(values) != (2,) or any(callable(value) for value in values):
        raise GraphError(
            f"values compares two settings of {treatment!r}, but is {values!r}; give (low, high)", node=treatment
        )
    first, second = (check_interventions({treatment: value}, scm.graph, scm.levels) for value in values)
    return first, second
