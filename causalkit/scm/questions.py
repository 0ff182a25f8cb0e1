"""What if: the distribution of every node after something is done to the model, beside the one before.

Means are the g-formula (Robins 1986; Hernán & Robins, *Causal Inference: What If*, ch. 13): roots stay as recorded, row
by row, the intervention is applied, and every mechanism downstream answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError, GraphError
from causalkit.finding import Finding
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.distributions import shown_by_label, spread_intervals, spread_of
from causalkit.scm.given import Runs, all_runs, describe_given, runs_where
from causalkit.scm.interventions import (
    Formula,
    Intervention,
    Scale,
    Shift,
    check_interventions,
    describe,
    encode,
)
from causalkit.scm.noise import Noise, drawn_noise
from causalkit.scm.preparing import MISSING_SUFFIX
from causalkit.scm.propagate import propagate
from causalkit.streams import stream
from causalkit.tables import decode
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState


# Rows that stand for the population in means over all replicates; more change nothing that can be seen.
_POPULATION = 4000
# Few enough that a node's values in all replicates stay in the processor's cache; three times as fast as all at once.
_ROWS_AT_ONCE = 64
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
        the draws, ``baseline_mean``, and ``change`` of the mean with ``change_low`` and ``change_high``; then
        ``baseline_std`` to ``baseline_max``. Intervals of spread and quantiles are in `distribution`.
    outcome : str
        The node that the sentence and the plot are about: the last one of the graph.
    caveats : list of str
    given : dict
        Which runs were asked about; empty: all.
    """

    interventions: dict[str, Intervention]
    samples: pd.DataFrame
    baseline: pd.DataFrame
    statistics: pd.DataFrame
    outcome: str
    caveats: list[str]
    given: dict[str, Any] = field(default_factory=dict)
    # A function and not its value: widgets ask for a result with every move, and hardly ever for this.
    _distribution: Callable[[], pd.DataFrame] = field(default=pd.DataFrame, compare=False)

    @cached_property
    def distribution(self) -> pd.DataFrame:
        """How sure spread and quantiles are: 95 % intervals, and of their change against the baseline.

        Per node and for each of ``std q05 q50 q95`` six columns: ``q50 q50_low q50_high q50_change q50_change_low
        q50_change_high``. Least and greatest value have none: resampled runs never exceed the recorded ones, so that no
        bootstrap can tell how far others would. Computed when first asked for, from refits with rows of their own.
        """
        return self._distribution()

    @property
    def sentence(self) -> str:
        """The finding in words, about the outcome."""
        return self.sentence_about(self.outcome)

    def sentence_about(self, node: str) -> str:
        """Return the finding in words, about any node; of one with labels about the share that changes most."""
        shares = [name for name in self.statistics.index if str(name).startswith(f"{node}=")]
        if shares and node not in self.statistics.index:
            node = str(self.statistics.loc[shares, "change"].abs().idxmax())
        of, mean = self.of(node), "share" if shares else "mean"
        among = f" among runs with {describe_given(self.given)}" if self.given else ""
        return (
            f"Under {describe(self.interventions)}{among} the {mean} of {node} is {number(of['mean'])} "
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

    def to_json(self) -> str:
        """Return the result as strict JSON, samples and `distribution` included; of a function only its name is kept.

        Raises
        ------
        CausalkitError
            If a label is neither text, number nor truth value.
        """
        from causalkit.scm.result_json import write_result

        return write_result(self)

    @classmethod
    def from_json(cls, text: str) -> InterventionResult:
        """Return the result that `to_json` wrote.

        Raises
        ------
        ModelFormatError
            If the text holds none.
        """
        from causalkit.scm.result_json import read_result

        return read_result(text)

    def plot(self, node: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw one node before and after; see `causalkit.plots.interventions.plot_intervention`."""
        from causalkit.plots.interventions import plot_intervention

        return plot_intervention(self, node, ax=ax)


def intervene(
    scm: FittedState,
    interventions: Mapping[str, Intervention] | str,
    num_samples: int,
    given: Mapping[str, Any] | None,
    random_seed: int,
) -> InterventionResult:
    """Answer `FittedSCM.intervene`: means and their intervals from the recorded rows, distributions from draws."""
    actions = check_interventions(interventions, scm.graph, scm.levels)
    runs = runs_where(scm, {} if given is None else given, actions)
    outcome = scm.order[-1]
    refuse_biased(scm, actions, list(scm.graph))
    after, before = mean_replicates(scm, [actions, {}], random_seed, runs)
    drawn, baseline = (draw_values(scm, num_samples, done, random_seed, runs) for done in (actions, {}))
    statistics = _statistics(scm, drawn, baseline, after, before)
    return InterventionResult(
        actions,
        as_recorded(scm, drawn),
        as_recorded(scm, baseline),
        statistics,
        outcome,
        [*caveats_of(scm, actions, outcome), *runs.caveats(scm)],
        dict(given or {}),
        partial(spread_intervals, scm, actions, runs, random_seed, statistics),
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
    scm: FittedState,
    num_samples: int,
    interventions: Mapping[str, Intervention],
    random_seed: int,
    runs: Runs | None = None,
) -> pd.DataFrame:
    """Draw runs like `runs` (default: all) as floats, labels as their places, every node with a value."""
    if not isinstance(num_samples, Integral) or num_samples < 1:
        raise CausalkitError(
            f"num_samples is {num_samples!r}; draw a whole number of at least one", num_samples=num_samples
        )
    runs = runs or all_runs(scm)
    rows = runs.rows[stream(random_seed, "rows").integers(len(runs.rows), size=num_samples)]
    noise = _noise(scm, rows, lambda node: drawn_noise(scm, node, num_samples, stream(random_seed, f"noise {node}")))
    for root, family in scm.root_families.items():
        noise[root] = family.rvs(size=(num_samples, 1), random_state=stream(random_seed, f"root {root}"))
    values = propagate(scm, noise, encode(interventions, scm.levels), known=runs.known(scm, rows[:, None]))
    columns = {node: np.broadcast_to(values[node], (num_samples, 1))[:, 0] for node in scm.graph}
    return pd.DataFrame(columns)


def mean_replicates(
    scm: FittedState, arms: list[Mapping[str, Intervention]], random_seed: int, runs: Runs | None = None
) -> list[dict[str, FloatArray]]:
    """Return every node's mean under each arm, by the fitted model first and then by each refit, over `runs` or all.

    The arms share rows and noise, so that their differences do not carry the error of sampling.

    Returns
    -------
    list of dict of str to ndarray, shape (1 + replicates,)
        A node of more than two labels has one entry a label, ``mode=fast``: the share of runs.
    """
    rng = stream(random_seed, "population")
    slow = any(mechanism.learner is not None for mechanism in scm.mechanisms.values())
    runs = runs or all_runs(scm)
    rows = sources = runs.rows[rng.permutation(len(runs.rows))[: _FEWER if slow else _POPULATION]]
    if runs.held:
        # Few rows are taken several times, with noise of all rows: they are alike in what is held, not in luck.
        rows = np.tile(rows, -(-_FEWER // len(rows)))
        sources = np.resize(rng.permutation(len(scm.table)), len(rows))
    noise = _noise(
        scm, rows, lambda node: scm.mechanisms[node].population_noise(sources, stream(random_seed, f"noise {node}"))
    )
    weights = np.vstack([np.ones(len(rows)), scm.replicate_weights[:, scm.blocks[rows]]])
    # A replicate that drew none of the runs asked about has nothing to say about their weights.
    weights[~weights.any(axis=1)] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    coefficients = {node: fits.copy() for node, fits in scm.fits.items()}
    for node, fits in coefficients.items():
        if not scm.mechanisms[node].additive:
            continue
        # A refit's noise has mean 0 under the refit's own weights. The rows that stand for it here have not, and would
        # count the error of that mean a second time: take it off the intercept, which is the first term.
        fits[0] -= weights @ np.asarray(noise[node])[:, 0]
    known = runs.known(scm, rows[:, None])
    size = len(rows) if any(map(_whole_column, arms)) else _ROWS_AT_ONCE
    means: list[dict[str, FloatArray]] = [{} for _ in arms]
    for part in (slice(start, start + size) for start in range(0, len(rows), size)):
        here, held = ({node: np.asarray(of)[part] for node, of in values.items()} for values in (noise, known))
        for arm, sums in zip(arms, means, strict=True):
            answer = propagate(scm, here, encode(arm, scm.levels), coefficients, held)
            for node, values in shown_by_label(scm, answer).items():
                sums[node] = sums.get(node, 0.0) + _weighted_sum(weights[:, part], values)
    return means


def _whole_column(arm: Mapping[str, Intervention]) -> bool:
    """Return whether something is done that may depend on all rows together."""
    return any(callable(action) and not isinstance(action, Shift | Scale | Formula) for action in arm.values())


def _noise(scm: FittedState, rows: IntArray, make: Callable[[str], Noise]) -> dict[str, Noise]:
    noise: dict[str, Noise] = {}
    for node in scm.graph:
        if node in scm.mechanisms:
            noise[node] = make(node)
        elif node not in scm.derived:
            noise[node] = scm.table[node].to_numpy()[rows][:, None]
    return noise


def _weighted_sum(weights: FloatArray, values: FloatArray) -> FloatArray:
    if values.shape[1] == 1:
        return np.asarray(weights @ values[:, 0])
    return np.asarray(np.einsum("br,rb->b", weights, values))


def _statistics(
    scm: FittedState,
    drawn: pd.DataFrame,
    baseline: pd.DataFrame,
    after: Mapping[str, FloatArray],
    before: Mapping[str, FloatArray],
) -> pd.DataFrame:
    arms = (shown_by_label(scm, {node: arm[[node]].to_numpy() for node in scm.graph}) for arm in (drawn, baseline))
    now, was = ({node: _spread(values) for node, values in arm.items()} for arm in arms)
    rows: dict[str, list[float]] = {}
    num_blocks = scm.replicate_weights.shape[1]
    for node in after:
        change = after[node] - before[node]
        rows[node] = [after[node][0], *interval95(after[node][1:], num_blocks), *now[node]]
        rows[node] += [before[node][0], change[0], *interval95(change[1:], num_blocks), *was[node]]
    spread = ["std", "q05", "q50", "q95", "min", "max"]
    names = ["mean", "low", "high", *spread, "baseline_mean", "change", "change_low", "change_high"]
    names += [f"baseline_{name}" for name in spread]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("node")


def _spread(values: FloatArray) -> list[float]:
    return [*spread_of(values)[:, 0], values.min(), values.max()]
