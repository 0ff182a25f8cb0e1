"""What if: the distribution of every node after something is done to the model, beside the one before.

Means are the g-formula (Robins 1986; Hernán & Robins, *Causal Inference: What If*, ch. 13): roots stay as recorded, row
by row, the intervention is applied, and every mechanism downstream answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError, GraphError
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of
from causalkit.scm.finding import Finding
from causalkit.scm.interventions import Intervention, check_interventions, describe
from causalkit.scm.noise import local_noise
from causalkit.scm.propagate import Noise, propagate
from causalkit.streams import stream
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.model import FittedSCM


# Rows that stand for the population in means over all replicates; more change nothing that can be seen.
_POPULATION = 4000


@dataclass(frozen=True, repr=False)
class InterventionResult(Finding):
    """Every node after an intervention, beside what it was before.

    Attributes
    ----------
    interventions : dict
        What was done.
    samples, baseline : pandas.DataFrame
        Draws with and without the intervention, one column per node; the same runs in both.
    statistics : pandas.DataFrame
        Per node: ``mean`` with the 95 % interval ``low`` and ``high`` of that mean, ``std q05 q50 q95 min max`` of
        the draws, ``baseline_mean``, and ``change`` of the mean with ``change_low`` and ``change_high``.
    outcome : str
        The node that the sentence and the plot are about: the last one of the graph.
    caveats : list of str
    """

    interventions: dict[str, Intervention]
    samples: pd.DataFrame
    baseline: pd.DataFrame
    statistics: pd.DataFrame
    outcome: str
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words, about the outcome."""
        return self.sentence_about(self.outcome)

    def sentence_about(self, node: str) -> str:
        """Return the finding in words, about any node."""
        of = self.of(node)
        return (
            f"Under {describe(self.interventions)} the mean of {node} is {number(of['mean'])} "
            f"({interval((of['low'], of['high']))}), a change of {number(of['change'], signed=True)} "
            f"({interval((of['change_low'], of['change_high']), signed=True)})."
        )

    def of(self, node: str) -> dict[str, float]:
        """Return the statistics of one node.

        Raises
        ------
        GraphError
            If the result has no such node.
        """
        if node not in self.statistics.index:
            raise GraphError(
                f"{node!r} is no node of the result; known are {', '.join(self.statistics.index)}", node=node
            )
        return {str(name): float(value) for name, value in self.statistics.to_dict("index")[node].items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the statistics, one row per node."""
        return self.statistics.copy()

    def plot(self, node: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw one node before and after; see `causalkit.plots.interventions.plot_intervention`."""
        from causalkit.plots.interventions import plot_intervention

        return plot_intervention(self, node, ax=ax)


def intervene(
    scm: FittedSCM, interventions: Mapping[str, Intervention], num_samples: int, random_seed: int
) -> InterventionResult:
    """Answer `FittedSCM.intervene`: means and their intervals from the recorded rows, distributions from draws."""
    actions = check_interventions(interventions, scm.graph)
    after, before = mean_replicates(scm, [actions, {}], random_seed)
    samples, baseline = (draw(scm, num_samples, done, random_seed) for done in (actions, {}))
    outcome = scm.order[-1]
    return InterventionResult(
        actions,
        samples,
        baseline,
        _statistics(samples, after, before),
        outcome,
        caveats_of(scm, actions, outcome),
    )


def draw(scm: FittedSCM, num_samples: int, interventions: Mapping[str, Intervention], random_seed: int) -> pd.DataFrame:
    """Draw runs from the model under interventions; one seed gives the same runs under any of them."""
    if not isinstance(num_samples, Integral) or num_samples < 1:
        raise CausalkitError(
            f"num_samples is {num_samples!r}; draw a whole number of at least one", num_samples=num_samples
        )
    rows = stream(random_seed, "rows").integers(len(scm.table), size=num_samples)
    noise = _noise(scm, rows, lambda node: local_noise(scm, node, num_samples, stream(random_seed, f"noise {node}")))
    values = propagate(scm, noise, interventions)
    columns = {node: np.broadcast_to(values[node], (num_samples, 1))[:, 0] for node in scm.graph}
    return pd.DataFrame(columns)


def mean_replicates(
    scm: FittedSCM, arms: list[Mapping[str, Intervention]], random_seed: int
) -> list[dict[str, FloatArray]]:
    """Return every node's mean under each arm, by the fitted model first and then by each refit.

    The arms share rows and noise, so that their differences do not carry the error of sampling.

    Returns
    -------
    list of dict of str to ndarray, shape (1 + replicates,)
    """
    rng = stream(random_seed, "population")
    rows = rng.permutation(len(scm.table))[:_POPULATION]
    noise = _noise(scm, rows, lambda node: _shuffled(scm, node, stream(random_seed, f"noise {node}").permutation(rows)))
    weights = np.vstack([np.ones(len(rows)), scm.replicate_weights[:, scm.blocks[rows]]])
    weights /= weights.sum(axis=1, keepdims=True)
    coefficients = {node: fits.copy() for node, fits in scm.fits.items()}
    for node, fits in coefficients.items():
        # A refit's noise has mean 0 under the refit's own weights. The rows that stand for it here have not, and would
        # count the error of that mean a second time: take it off the intercept, which is the first term.
        fits[0] -= weights @ np.asarray(noise[node])[:, 0]
    return [
        {node: _weighted_mean(weights, values) for node, values in propagate(scm, noise, arm, coefficients).items()}
        for arm in arms
    ]


def _shuffled(scm: FittedSCM, node: str, order: IntArray) -> FloatArray:
    return scm.mechanisms[node].residuals[order][:, None]


def _noise(scm: FittedSCM, rows: IntArray, make: Callable[[str], Noise]) -> dict[str, Noise]:
    noise: dict[str, Noise] = {}
    for node in scm.graph:
        if node in scm.mechanisms:
            noise[node] = make(node)
        elif node not in scm.derived:
            noise[node] = scm.table[node].to_numpy()[rows][:, None]
    return noise


def _weighted_mean(weights: FloatArray, values: FloatArray) -> FloatArray:
    if values.shape[1] == 1:
        return np.asarray(weights @ values[:, 0])
    return np.asarray(np.einsum("br,rb->b", weights, values))


def _statistics(
    samples: pd.DataFrame, after: Mapping[str, FloatArray], before: Mapping[str, FloatArray]
) -> pd.DataFrame:
    rows: dict[str, list[float]] = {}
    for node in after:
        change = after[node] - before[node]
        quantiles = np.quantile(samples[node], [0.05, 0.5, 0.95, 0, 1])
        rows[node] = [after[node][0], *interval95(after[node][1:]), samples[node].std(), *quantiles]
        rows[node] += [before[node][0], change[0], *interval95(change[1:])]
    names = ["mean", "low", "high", "std", "q05", "q50", "q95", "min", "max"]
    names += ["baseline_mean", "change", "change_low", "change_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("node")
