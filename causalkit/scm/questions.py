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
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.finding import Finding
from causalkit.scm.interventions import Intervention, check_interventions, describe, encode
from causalkit.scm.noise import Noise, drawn_noise
from causalkit.scm.preparing import MISSING_SUFFIX
from causalkit.scm.propagate import Values, propagate
from causalkit.streams import stream
from causalkit.tables import decode
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState


# Rows that stand for the population in means over all replicates; more change nothing that can be seen.
_POPULATION = 4000
# A learner has to be asked for every row of every replicate.
_FEWER = 1000


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
    scm: FittedState, interventions: Mapping[str, Intervention], num_samples: int, random_seed: int
) -> InterventionResult:
    """Answer `FittedSCM.intervene`: means and their intervals from the recorded rows, distributions from draws."""
    actions = check_interventions(interventions, scm.graph, scm.levels)
    outcome = scm.order[-1]
    refuse_biased(scm, actions, list(scm.graph))
    after, before = mean_replicates(scm, [actions, {}], random_seed)
    drawn, baseline = (draw_values(scm, num_samples, done, random_seed) for done in (actions, {}))
    return InterventionResult(
        actions,
        as_recorded(scm, drawn),
        as_recorded(scm, baseline),
        _statistics(_shown(scm, {node: drawn[[node]].to_numpy() for node in scm.graph}), after, before),
        outcome,
        caveats_of(scm, actions, outcome),
    )


def draw(
    scm: FittedState, num_samples: int, interventions: Mapping[str, Intervention], random_seed: int
) -> pd.DataFrame:
    """Draw runs from the model under interventions; one seed gives the same runs under any of them."""
    return as_recorded(scm, draw_values(scm, num_samples, interventions, random_seed))


def as_recorded(scm: FittedState, values: pd.DataFrame) -> pd.DataFrame:
    """Return rows as they would be recorded: labels for their places, and nothing where a value is missing."""
    shown = decode(values, scm.levels)
    for node in scm.observed:
        shown[node] = shown[node].mask(shown[node + MISSING_SUFFIX])
    return shown


def draw_values(
    scm: FittedState, num_samples: int, interventions: Mapping[str, Intervention], random_seed: int
) -> pd.DataFrame:
    """Draw runs as floats, labels as their places, every node with a value."""
    if not isinstance(num_samples, Integral) or num_samples < 1:
        raise CausalkitError(
            f"num_samples is {num_samples!r}; draw a whole number of at least one", num_samples=num_samples
        )
    rows = stream(random_seed, "rows").integers(len(scm.table), size=num_samples)
    noise = _noise(scm, rows, lambda node: drawn_noise(scm, node, num_samples, stream(random_seed, f"noise {node}")))
    for root, family in scm.root_families.items():
        noise[root] = family.rvs(size=(num_samples, 1), random_state=stream(random_seed, f"root {root}"))
    values = propagate(scm, noise, encode(interventions, scm.levels))
    columns = {node: np.broadcast_to(values[node], (num_samples, 1))[:, 0] for node in scm.graph}
    return pd.DataFrame(columns)


def mean_replicates(
    scm: FittedState, arms: list[Mapping[str, Intervention]], random_seed: int
) -> list[dict[str, FloatArray]]:
    """Return every node's mean under each arm, by the fitted model first and then by each refit.

    The arms share rows and noise, so that their differences do not carry the error of sampling.

    Returns
    -------
    list of dict of str to ndarray, shape (1 + replicates,)
        A node of more than two labels has one entry a label, ``mode=fast``: the share of runs.
    """
    rng = stream(random_seed, "population")
    slow = any(mechanism.learner is not None for mechanism in scm.mechanisms.values())
    rows = rng.permutation(len(scm.table))[: _FEWER if slow else _POPULATION]
    noise = _noise(
        scm, rows, lambda node: scm.mechanisms[node].population_noise(rows, stream(random_seed, f"noise {node}"))
    )
    weights = np.vstack([np.ones(len(rows)), scm.replicate_weights[:, scm.blocks[rows]]])
    weights /= weights.sum(axis=1, keepdims=True)
    coefficients = {node: fits.copy() for node, fits in scm.fits.items()}
    for node, fits in coefficients.items():
        if not scm.mechanisms[node].additive:
            continue
        # A refit's noise has mean 0 under the refit's own weights. The rows that stand for it here have not, and would
        # count the error of that mean a second time: take it off the intercept, which is the first term.
        fits[0] -= weights @ np.asarray(noise[node])[:, 0]
    return [
        {
            node: _weighted_mean(weights, values)
            for node, values in _shown(scm, propagate(scm, noise, encode(arm, scm.levels), coefficients)).items()
        }
        for arm in arms
    ]


def _shown(scm: FittedState, values: Values) -> Values:
    """Return the values with one column of 0 and 1 a label in place of a node of more than two labels."""
    shown: Values = {}
    for node, column in values.items():
        labels = scm.levels.get(node, ())
        if len(labels) > 2:
            shown |= {f"{node}={label}": np.equal(column, place).astype(float) for place, label in enumerate(labels)}
        else:
            shown[node] = column
    return shown


def _noise(scm: FittedState, rows: IntArray, make: Callable[[str], Noise]) -> dict[str, Noise]:
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


def _statistics(samples: Values, after: Mapping[str, FloatArray], before: Mapping[str, FloatArray]) -> pd.DataFrame:
    rows: dict[str, list[float]] = {}
    for node in after:
        change = after[node] - before[node]
        quantiles = np.quantile(samples[node], [0.05, 0.5, 0.95, 0, 1])
        spread = float(np.std(samples[node], ddof=1)) if len(samples[node]) > 1 else float("nan")
        rows[node] = [after[node][0], *interval95(after[node][1:]), spread, *quantiles]
        rows[node] += [before[node][0], change[0], *interval95(change[1:])]
    names = ["mean", "low", "high", "std", "q05", "q50", "q95", "min", "max"]
    names += ["baseline_mean", "change", "change_low", "change_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("node")
