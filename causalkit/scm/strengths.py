"""How strong each direct cause is: what is lost when its edge is cut.

Janzing et al. 2013, *Quantifying causal influences*: the edge is cut and the target is fed with an independent copy of
the parent instead. For a number the strength is by how much that raises the variance which the parents leave
unexplained; for labels, by how far it moves their probabilities (Kullback-Leibler divergence, in nats). Both are as in
``dowhy.gcm.arrow_strength``: of labels the divergence is averaged over copies, which is no less than the divergence
from the average over copies that the paper has. A mechanism's noise counts as independent of its parents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.errors import GraphError
from causalkit.finding import Finding
from causalkit.scm.arrays import BoolArray, FloatArray
from causalkit.scm.blocks import block_sums, interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.classification import Classification
from causalkit.scm.derived import combine
from causalkit.scm.interventions import Shift
from causalkit.scm.regression import Regression
from causalkit.scm.state import Mechanism
from causalkit.scm.terms import Terms
from causalkit.streams import stream
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.plots.strengths import HasBars
    from causalkit.scm.state import FittedState

# Copies of a parent, and rows that each copy is held against, where no closed form is known.
_COPIES = 8
_ROWS = 2000


@dataclass(frozen=True, repr=False)
class Ranking(Finding):
    """An answer that is a table, strongest first, and can be drawn as bars.

    Attributes
    ----------
    frame : pandas.DataFrame
    caveats : list of str
    """

    frame: pd.DataFrame
    caveats: list[str]

    def to_frame(self) -> pd.DataFrame:
        """Return the table, strongest first."""
        return self.frame.copy()

    def plot(self: HasBars, *, ax: Axes | None = None) -> Axes:
        """Draw the table as bars; see `causalkit.plots.strengths.plot_strengths`."""
        from causalkit.plots.strengths import plot_strengths

        return plot_strengths(self, ax=ax)


@dataclass(frozen=True, repr=False)
class Strengths(Ranking):
    """The strength of every edge into one node.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``parent, strength, share, low, high``, strongest first: the strength with its 95 % interval over refits and
        resampled blocks, and what share it is of the target's recorded variance (of labels: of their entropy).
    caveats : list of str
    target : str
    unit : str
        Of the strengths: ``variance`` or, for labels, ``nats``.

    Examples
    --------
    >>> edges = pd.DataFrame({"parent": ["depth"], "strength": [4.0], "share": [0.8], "low": [3.5], "high": [4.5]})
    >>> Strengths(edges, [], "total_ms", "variance").sentence
    'depth is the strongest direct cause of total_ms: 4.00 (variance; 95 % interval 3.50 to 4.50), a share of 0.80.'
    """

    target: str
    unit: str

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.frame.empty:
            return f"{self.target} has no direct cause in the graph."
        best = self.frame.to_dict("records")[0]
        return (
            f"{best['parent']} is the strongest direct cause of {self.target}: {number(best['strength'])} "
            f"({self.unit}; 95 % interval {interval((best['low'], best['high']))}), a share of {number(best['share'])}."
        )

    def bars(self) -> tuple[str, str, pd.DataFrame]:
        """Return a title, what is on the axis, and the bars: ``name, value, low, high``."""
        bars = self.frame.rename(columns={"parent": "name", "strength": "value"})
        return f"Direct causes of {self.target}", f"{self.unit} lost without the edge", bars


def strengths(scm: FittedState, target: str, random_seed: int) -> Strengths:
    """Answer `FittedSCM.strengths`."""
    check_node(scm, target)
    parents = sorted(scm.graph.predecessors(target))
    # Nothing lies below the last parent but the target: its mechanism is the only one that counts.
    refuse_biased(scm, dict.fromkeys([node for node in scm.order if node in parents][-1:], 0.0), [target])
    caveats = caveats_of(scm, dict.fromkeys(parents, Shift(0.0)), target)
    found = _closed(scm, target, parents)
    if parents and not found:
        found, error = _drawn(scm, target, parents, random_seed)
        caveats.append(
            f"averages over {_COPIES} copies of each parent: their standard error is {number(error)} or less"
        )
    whole = _spread(scm, target)
    rows = [
        (parent, each[0], each[0] / whole if whole > 0 else 0.0, *interval95(each[1:]))
        for parent, each in found.items()
    ]
    frame = pd.DataFrame(rows, columns=["parent", "strength", "share", "low", "high"])
    frame = frame.sort_values("strength", ascending=False, kind="stable", ignore_index=True)
    return Strengths(frame, caveats, target, "nats" if target in scm.levels else "variance")


def check_node(scm: FittedState, *nodes: str) -> None:
    """Refuse what is no node of the model.

    Raises
    ------
    GraphError
        With the first such name in ``.node``.
    """
    for node in nodes:
        if node not in scm.graph:
            raise GraphError(f"{node!r} is no node of the model; known are {', '.join(scm.graph)}", node=node)


def replicate_means(scm: FittedState, values: FloatArray, rows: BoolArray | slice = slice(None)) -> FloatArray:
    """Return the mean of `values` (rows first) as recorded, and then in each replicate; shape (1 + replicates, ...)."""
    blocks, num_blocks = scm.blocks[rows], scm.replicate_weights.shape[1]
    weights = np.vstack([np.ones(num_blocks), scm.replicate_weights])
    sizes = weights @ block_sums(np.ones(len(blocks)), blocks, num_blocks)
    sums = np.tensordot(weights, block_sums(values, blocks, num_blocks), axes=1)
    return np.asarray(sums / sizes.reshape(-1, *[1] * (values.ndim - 1)))


def replicate_variances(scm: FittedState, values: FloatArray, rows: BoolArray | slice = slice(None)) -> FloatArray:
    """Return the variance of `values`, shape (rows,), as recorded, and then in each replicate."""
    centred = values - values.mean()
    return np.asarray(replicate_means(scm, centred**2, rows) - replicate_means(scm, centred, rows) ** 2)


def factors_of(terms: Terms, place: int) -> BoolArray:
    """Return which factors of the terms are functions of one parent, shape (factors,)."""
    owners = terms.features.owners
    return np.equal([*owners, *(owners[index] for index, knots in terms.knots for _ in knots[2:])], place)


def _spread(scm: FittedState, target: str) -> float:
    values = scm.table[target].to_numpy()
    if target not in scm.levels:
        return float(np.var(values))
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(shares * np.log(shares)).sum())


def _closed(scm: FittedState, target: str, parents: list[str]) -> dict[str, FloatArray]:
    """Return each parent's strength where it is a sum of products of moments; otherwise nothing."""
    columns = scm.table[parents].to_numpy()
    if scm.derived.get(target) == "sum":
        return {parent: replicate_variances(scm, columns[:, place]) for place, parent in enumerate(parents)}
    mechanism = scm.mechanisms.get(target)
    if mechanism is None or mechanism.learner is not None or not mechanism.additive or mechanism.log:
        return {}
    factors = _factors(mechanism.terms, columns)
    return {parent: _variance_over_copies(scm, mechanism, factors, place) for place, parent in enumerate(parents)}


def _factors(terms: Terms, columns: FloatArray) -> FloatArray:
    """Return what terms are products of: standardised features and spline functions, shape (rows, factors)."""
    return replace(terms, factors=tuple((k,) for k in range(len(factors_of(terms, 0))))).design(columns)


def _variance_over_copies(scm: FittedState, mechanism: Mechanism, factors: FloatArray, place: int) -> FloatArray:
    """Return the mean over rows of the variance over copies of one parent.

    Each term is a function of this parent times one of the others: independent once the edge is cut.
    """
    terms, mine = mechanism.terms, factors_of(mechanism.terms, place)
    chosen = [index for index, term in enumerate(terms.factors) if mine[list(term)].any()]
    own, others = (
        np.stack([factors[:, [f for f in terms.factors[index] if mine[f] == of]].prod(axis=1) for index in chosen], 1)
        for of in (True, False)
    )
    own = own - own.mean(axis=0)
    means = replicate_means(scm, own)
    covariance = replicate_means(scm, own[:, :, None] * own[:, None]) - means[:, :, None] * means[:, None]
    together = replicate_means(scm, others[:, :, None] * others[:, None])
    coefficients = scm.fits[mechanism.node][chosen]
    return np.asarray(np.einsum("tb,bts,sb->b", coefficients, covariance * together, coefficients))


def _drawn(scm: FittedState, target: str, parents: list[str], random_seed: int) -> tuple[dict[str, FloatArray], float]:
    """Return each parent's strength as an average over copies drawn from other rows, and its largest standard error."""
    rows = stream(random_seed, "population").permutation(len(scm.table))[:_ROWS]
    weights = np.vstack([np.ones(len(rows)), scm.replicate_weights[:, scm.blocks[rows]]]).T
    columns = [scm.table[[parent]].to_numpy()[rows] for parent in parents]
    measure = _divergence if target in scm.levels else _variance
    found, error = {}, 0.0
    for place, parent in enumerate(parents):
        rng = stream(random_seed, f"copies of {parent}")
        copies = [rng.permutation(len(rows)) for _ in range(_COPIES)]
        cut = [[*columns[:place], columns[place][copy], *columns[place + 1 :]] for copy in copies]
        each = measure(scm, target, [columns, *cut], weights, [weights[copy] for copy in copies])
        found[parent] = each.mean(axis=0)
        error = max(error, float(each[:, 0].std(ddof=1)) / np.sqrt(_COPIES))
    return found, error


def _divergence(
    scm: FittedState, target: str, worlds: list[list[FloatArray]], weights: FloatArray, copied: list[FloatArray]
) -> FloatArray:
    mechanism = scm.mechanisms[target]
    assert isinstance(mechanism, Classification)  # noqa: S101 - what holds labels
    before, *after = (mechanism.probabilities(world, scm.fits[target]) for world in worlds)
    apart = [(before * np.log(before / chances)).sum(axis=0) for chances in after]
    return np.stack([_mean(each, weights * copy) for each, copy in zip(apart, copied, strict=True)])


def _variance(
    scm: FittedState, target: str, worlds: list[list[FloatArray]], weights: FloatArray, copied: list[FloatArray]
) -> FloatArray:
    """Return, of each copy, how much variance it adds; half the squared difference between two copies is unbiased.

    On a logarithm noise multiplies: what it scatters depends on the parents, the copy among them.
    """
    before, *after = (_respond(scm, target, world) for world in worlds)
    size, scatter = _noise_factor(scm, target)
    found = []
    for place, (value, copy) in enumerate(zip(after, copied, strict=True)):
        both = weights * copy * copied[place - 1]
        gained = _mean(value**2, weights * copy) - _mean(before**2, weights)
        found.append(size**2 * _mean((value - after[place - 1]) ** 2 / 2, both) + scatter * gained)
    return np.stack(found)


def _respond(scm: FittedState, target: str, columns: list[FloatArray]) -> FloatArray:
    if target in scm.derived:
        parts = zip(sorted(scm.graph.predecessors(target)), columns, strict=True)
        return combine(scm.derived[target], dict(parts), scm.levels)
    return scm.mechanisms[target].respond(columns, np.zeros((1, 1)), scm.fits[target])


def _noise_factor(scm: FittedState, target: str) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of what noise multiplies the target with: 1 and 0 where it is added."""
    mechanism = scm.mechanisms.get(target)
    if not isinstance(mechanism, Regression) or not mechanism.log:
        return np.ones(1), np.zeros(1)
    rows = scm.rows_of(target)
    residuals = mechanism.residuals[rows]
    mean = replicate_means(scm, residuals, rows)
    size = replicate_means(scm, np.exp(residuals), rows)
    scatter = replicate_variances(scm, np.exp(residuals), rows)
    return size * np.exp(-mean), scatter * np.exp(-2 * mean)


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray((weights * values).sum(axis=0) / weights.sum(axis=0))
