"""A node's distribution before and after an intervention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.plots.style import BLUE, GREY, axes_to_draw_on, axis_label, strip_spines
from causalkit.scm.given import describe_given
from causalkit.scm.interventions import describe
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.questions import InterventionResult

_BINS = 50


def plot_intervention(result: InterventionResult, node: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a node's distribution as recorded and under the intervention, each with its mean.

    Of a node that holds labels the shares of all labels are drawn.

    Parameters
    ----------
    result : InterventionResult
    node : str, optional
        Default: the outcome of the result. ``mode=fast`` is the same as ``mode``.
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
    holder = node if node in result.samples else node.rpartition("=")[0]
    if holder in result.samples and result.samples[holder].dtype.kind not in "iuf":
        return _draw_shares(result, holder, ax)
    row = result.of(node)
    done, ax = _done(result), axes_to_draw_on(ax)
    before, after = (table[node].dropna().to_numpy() for table in (result.baseline, result.samples))
    edges = np.histogram_bin_edges(np.concatenate([before, after]), bins=_BINS).tolist()
    ax.hist(before, edges, histtype="step", color=GREY, linestyle="--", linewidth=1.5, label="as it is")
    ax.hist(after, edges, histtype="stepfilled", color=BLUE, alpha=0.45, label=done)
    reach = interval((row["low"], row["high"]))
    ax.axvline(row["baseline_mean"], color=GREY, linestyle="--", label=f"mean as it is {number(row['baseline_mean'])}")
    ax.axvline(row["mean"], color=BLUE, linewidth=2, label=f"mean {number(row['mean'])} ({reach})")
    ax.axvspan(row["low"], row["high"], color=BLUE, alpha=0.25)
    ax.set(xlabel=axis_label(node), ylabel=f"runs of {len(after)} drawn", title=f"{node} under {done}")
    ax.legend(fontsize=8, frameon=False)
    strip_spines(ax)
    return ax


def _draw_shares(result: InterventionResult, node: str, ax: Axes | None) -> Axes:
    done, ax = _done(result), axes_to_draw_on(ax)
    drawn = {"before": result.baseline[node], "after": result.samples[node]}
    shares = pd.DataFrame({name: labels.value_counts(normalize=True) for name, labels in drawn.items()}).fillna(0)
    shares = shares.sort_index(key=lambda labels: labels.astype(str))
    places = np.arange(len(shares))
    before = ax.bar(places - 0.2, shares["before"], 0.38, label="as it is", color="white", edgecolor=GREY, hatch="//")
    after = ax.bar(places + 0.2, shares["after"], 0.38, label=done, color=BLUE, alpha=0.7)
    for bars in (before, after):
        ax.bar_label(bars, fmt="{:.0%}", fontsize=8)
    ax.set_xticks(places, [str(label) for label in shares.index])
    ax.set(
        ylim=(0, 1.1), xlabel=node, ylabel=f"share of {len(result.samples)} runs drawn", title=f"{node} under {done}"
    )
    ax.legend(fontsize=8, frameon=False)
    strip_spines(ax)
    return ax


def _done(result: InterventionResult) -> str:
    done = describe(result.interventions) if result.interventions else "no intervention"
    return f"{done} among runs with {describe_given(result.given)}" if result.given else done
