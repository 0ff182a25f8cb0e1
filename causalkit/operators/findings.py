"""What an analysis of operators finds: how far ensembles disagree, and how often judges are right."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from causalkit.finding import Finding
from causalkit.operators.intervals import Estimate, share
from causalkit.wording import interval, number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, repr=False)
class EnsembleDisagreement(Finding):
    """How far the members of ensembles disagree: a mean over calls of ensembles.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row for each call of an ensemble: ``run_id call_id operator_id stage disagreement votes agreement``.
    caveats : list of str
    measure : str
        See `causalkit.operators.agreement`.
    clusters : tuple
        For each row what it shares with others; 95 % intervals allow for that.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"stage": "ensemble_1", "disagreement": [0.0] * 45 + [1.0] * 5})
    >>> found = EnsembleDisagreement(calls, [], "non_unanimous", tuple(range(50)))
    >>> found.sentence
    'In 10.0 % of 50 ensemble calls the members did not all vote alike (95 % interval 4.3 % to 21.4 %).'
    >>> found.value
    0.1
    """

    frame: pd.DataFrame
    caveats: list[str]
    measure: str
    clusters: tuple[Hashable, ...]

    @property
    def estimate(self) -> Estimate:
        """The mean over all rows."""
        return share(self.frame["disagreement"], self.clusters)

    @property
    def value(self) -> float:
        """The mean disagreement, from 0 (all votes equal) to 1."""
        return self.estimate.value

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.estimate.interval

    @property
    def sentence(self) -> str:
        """The finding in words."""
        found = self.estimate
        if self.measure == "non_unanimous":
            return (
                f"In {100 * found.value:.1f} % of {found.n} ensemble calls the members did not all vote alike "
                f"(95 % interval {_percent(found)})."
            )
        return (
            f"The members disagree by {number(found.value)} ({self.measure}; 0 is unanimous, 1 all different) on "
            f"average over {found.n} ensemble calls (95 % interval {interval(found.interval)})."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each call of an ensemble."""
        return self.frame.copy()

    def by_stage(self) -> pd.DataFrame:
        """Return the mean of each stage with its 95 % interval: ``value low high n``."""
        estimates = shares_of(self.frame["stage"], self.frame["disagreement"], self.clusters)
        return framed(estimates, "stage", "value")

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw each stage with its interval; see `causalkit.plots.agreement.plot_disagreement`."""
        from causalkit.plots.agreement import plot_disagreement

        return plot_disagreement(self, ax=ax)


@dataclass(frozen=True, repr=False, eq=False)
class JudgeAccuracy(Finding, Mapping[str, Estimate]):
    """How often judges are right, by how many votes agreed; a mapping from ``"2/3"`` to an estimate, the best first.

    Attributes
    ----------
    levels : dict of str to Estimate
        Size of a largest group of equal votes / number of votes -> share of right verdicts.
    caveats : list of str
    unlinked : int
        How many judges nothing links to an ensemble.
    unjudged : int
        Of how many of the others nobody says whether they were right.

    Examples
    --------
    >>> found = JudgeAccuracy({"3/3": share([1] * 45 + [0] * 5), "2/3": share([1, 0] * 20)}, [], 0, 0)
    >>> found.sentence
    'Judges are right in 90.0 % where 3/3 votes agree (95 % interval 78.6 % to 95.7 %, n = 50), and in 50.0 % where
    2/3 do (35.2 % to 64.8 %, n = 40).'
    >>> found["2/3"].value
    0.5
    """

    levels: dict[str, Estimate]
    caveats: list[str]
    unlinked: int
    unjudged: int

    def __getitem__(self, level: str) -> Estimate:
        return self.levels[level]

    def __iter__(self) -> Iterator[str]:
        return iter(self.levels)

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def sentence(self) -> str:
        """The finding in words: the level where most votes agree, and that where fewest do."""
        if not self.levels:
            return "Of no judge it is known both what it worked on and whether it was right."
        (best, top), *_, (worst, low) = [*self.levels.items()] * 2
        told = f"Judges are right in {100 * top.value:.1f} % where {best} votes agree (95 % interval {_percent(top)}, "
        told += f"n = {top.n})"
        if len(self.levels) > 1:
            told += f", and in {100 * low.value:.1f} % where {worst} do ({_percent(low)}, n = {low.n})"
        return f"{told}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each level: ``agreement accuracy n low high``."""
        return framed(self.levels, "agreement", "accuracy").reset_index()[["agreement", "accuracy", "n", "low", "high"]]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the levels with their intervals; see `causalkit.plots.agreement.plot_judge_accuracy`."""
        from causalkit.plots.agreement import plot_judge_accuracy

        return plot_judge_accuracy(self, ax=ax)


def shares_of(keys: Iterable[Key], values: Iterable[float], clusters: Iterable[Hashable]) -> dict[Key, Estimate]:
    """Return the share that the values of each key make up, keys in the order in which they come.

    Examples
    --------
    >>> shares_of("aab", [1, 1, 0], [1, 2, 3])["a"].n
    2
    """
    found: dict[Key, tuple[list[float], list[Hashable]]] = {}
    for key, value, cluster in zip(keys, values, clusters, strict=True):
        group = found.setdefault(key, ([], []))
        group[0].append(value)
        group[1].append(cluster)
    return {key: share(*group) for key, group in found.items()}


def framed(estimates: Mapping[Key, Estimate], key: str, value: str) -> pd.DataFrame:
    """Return one row for each estimate: its key as the index, ``value low high n``."""
    import pandas as pd

    rows = [(each.value, *each.interval, each.n) for each in estimates.values()]
    index = pd.Index(list(estimates), name=key, dtype=object, tupleize_cols=False)
    return pd.DataFrame(rows, columns=[value, "low", "high", "n"], index=index)


def _percent(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{100 * low:.1f} % to {100 * high:.1f} %"
