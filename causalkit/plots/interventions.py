"""A node's distribution before and after an intervention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from causalkit.plots.style import BLUE, GREY, axes_to_draw_on, axis_label, strip_spines
from causalkit.scm.interventions import describe
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.questions import InterventionResult

_BINS = 50


def plot_intervention(result: InterventionResult, node: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a node's distribution as recorded and under the intervention, each with its mean.

    Parameters
    ----------
    result : InterventionResult
    node : str, optional
        Default: the outcome of the result.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    GraphError
        If the result has no such node.

    Examples
    --------
    >>> import networkx as nx
    >>> import pandas as pd
    >>> from causalkit.scm.fitter import SCMFitter
    >>> traces = pd.DataFrame({"depth": np.arange(200.0), "total_ms": 2 * np.arange(200.0) + 5})
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("depth", "total_ms")]), traces)
    >>> plot_intervention(scm.intervene({"depth": 4})).get_title()
    'total_ms under do(depth = 4)'
    """
    node = node or result.outcome
    row = result.of(node)
    ax = axes_to_draw_on(ax)
    before, after = result.baseline[node].to_numpy(), result.samples[node].to_numpy()
    edges = np.histogram_bin_edges(np.concatenate([before, after]), bins=_BINS).tolist()
    ax.hist(before, edges, histtype="step", color=GREY, linestyle="--", linewidth=1.5, label="as it is")
    ax.hist(after, edges, histtype="stepfilled", color=BLUE, alpha=0.45, label=describe(result.interventions))
    reach = interval((row["low"], row["high"]))
    ax.axvline(row["baseline_mean"], color=GREY, linestyle="--", label=f"mean as it is {number(row['baseline_mean'])}")
    ax.axvline(row["mean"], color=BLUE, linewidth=2, label=f"mean {number(row['mean'])} ({reach})")
    ax.axvspan(row["low"], row["high"], color=BLUE, alpha=0.25)
    ax.set(
        xlabel=axis_label(node),
        ylabel=f"runs of {len(after)} drawn",
        title=f"{node} under {describe(result.interventions)}",
    )
    ax.legend(fontsize=8, frameon=False)
    strip_spines(ax)
    return ax
