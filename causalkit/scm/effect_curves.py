"""How the mean of an outcome moves as a node is set to one value after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import GraphError
from causalkit.finding import Finding
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.effects import listed, refuse_same
from causalkit.scm.interventions import Intervention, Shift, check_interventions, describe
from causalkit.scm.outcomes import Outcome
from causalkit.scm.questions import mean_replicates
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState

_NUM_VALUES = 20


@dataclass(frozen=True, repr=False)
class EffectCurve(Finding):
    """The mean of an outcome at each value that a treatment is set to.

    Attributes
    ----------
    treatment, outcome : str
    frame : pandas.DataFrame
        ``value, mean, low, high, extrapolated``: the mean with its 95 % interval, and whether the value lies outside
        what was recorded. The band is pointwise: each interval holds its own mean in 95 % of data sets, all of them
        together in fewer.
    experimental : bool
        True where the treatment was a knob, set at random by design; False: observational.
    caveats : list of str

    Examples
    --------
    >>> rows = [(1, 10.0, 9.0, 11.0, False), (8, 31.0, 29.0, 33.0, False)]
    >>> frame = pd.DataFrame(rows, columns=["value", "mean", "low", "high", "extrapolated"])
    >>> EffectCurve("depth", "ms", frame, True, []).sentence
    'The mean of ms is least, 10.00 (9.00 to 11.00), under do(depth = 1) and largest, 31.00 (29.00 to 33.00), under
    do(depth = 8).'
    """

    treatment: str
    outcome: str
    frame: pd.DataFrame
    experimental: bool
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        rows = self.frame.to_dict("records")
        least, largest = (pick(rows, key=lambda row: row["mean"]) for pick in (min, max))
        kind = "" if self.experimental else " (observational)"
        if least["mean"] == largest["mean"]:
            return f"The mean of {self.outcome} is {_told(least)} whatever {self.treatment} is set to{kind}."
        return (
            f"The mean of {self.outcome} is least, {_told(least)}, under {describe({self.treatment: least['value']})} "
            f"and largest, {_told(largest)}, under {describe({self.treatment: largest['value']})}{kind}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per value."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the curve with its band; see `causalkit.plots.effect_curve.plot_effect_curve`."""
        from causalkit.plots.effect_curve import plot_effect_curve

        return plot_effect_curve(self, ax=ax)


def effect_curve(
    scm: FittedState, treatment: str, outcome: str, values: Sequence[Any] | None, random_seed: int
) -> EffectCurve:
    """Answer `FittedSCM.effect_curve`: one arm a value, all over the same rows and the same noise."""
    about = Outcome.of(scm, outcome)
    grid = _grid(scm, treatment, values)
    refuse_same(treatment, about)
    arms: list[Mapping[str, Intervention]] = [{treatment: value} for value in grid]
    refuse_biased(scm, arms[0], [about.node])
    means = [about.mean(arm) for arm in mean_replicates(scm, arms, random_seed)]
    rows = [
        (
            value,
            float(mean[0]),
            *interval95(mean[1:], scm.replicate_weights.shape[1]),
            not _recorded(scm, treatment, value),
        )
        for value, mean in zip(grid, means, strict=True)
    ]
    # Numbers are in order: what is outside the recorded range on either side is said of the outermost.
    told = (caveat for arm in (arms[0], arms[-1]) for caveat in caveats_of(scm, arm, about.node))
    return EffectCurve(
        treatment,
        outcome,
        pd.DataFrame(rows, columns=["value", "mean", "low", "high", "extrapolated"]),
        scm.role(treatment) == "knob",
        list(dict.fromkeys(told)),
    )


def _told(row: dict[Any, Any]) -> str:
    return f"{number(row['mean'])} ({interval((row['low'], row['high']))})"


def _grid(scm: FittedState, treatment: str, values: Sequence[Any] | None) -> list[Any]:
    # Any number can be set wherever a node can be acted on at all.
    check_interventions({treatment: Shift(0)}, scm.graph)
    labels = scm.levels.get(treatment)
    if values is None:
        return _recorded_range(scm, treatment) if labels is None else list(labels)
    wanted = listed(values)
    if not wanted or any(callable(value) for value in wanted):
        raise GraphError(
            f"values are what {treatment!r} is set to, one after another, but are {values!r}; give a list",
            node=treatment,
        )
    done = dict.fromkeys(check_interventions({treatment: value}, scm.graph, scm.levels)[treatment] for value in wanted)
    return list(done) if labels is not None else sorted(done)


def _recorded_range(scm: FittedState, treatment: str) -> list[float]:
    seen = np.unique(scm.table[treatment])
    if len(seen) <= _NUM_VALUES:
        return [float(value) for value in seen]
    grid = np.linspace(seen[0], seen[-1], _NUM_VALUES)
    whole = (seen == np.round(seen)).all()
    return [float(value) for value in (np.round(grid) if whole else grid)]


def _recorded(scm: FittedState, treatment: str, value: Any) -> bool:
    seen = scm.table[treatment]
    if treatment in scm.levels:
        return bool((seen == scm.levels[treatment].index(value)).any())
    return bool(seen.min() <= value <= seen.max())
