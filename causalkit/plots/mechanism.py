"""What a mechanism makes of its parents, over the rows it was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from causalkit.errors import GraphError
from causalkit.plots.style import BLACK, BLUE, GREY, VERMILION, axes_to_draw_on, strip_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.model import FittedSCM

# More points hide each other.
_MAX_POINTS = 600
_NUM_STEPS = 200


def plot_mechanism(scm: FittedSCM, node: str, *, ax: Axes | None = None) -> Axes:
    """Draw a fitted node: its curve over its one parent, or recorded against fitted values where it has more.

    Parameters
    ----------
    scm : FittedSCM
    node : str
        A node with parents that is not derived.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Titled with the rung, the held-out score and the verdict.

    Raises
    ------
    GraphError
        If the node has no mechanism.

    Examples
    --------
    >>> import networkx as nx, pandas as pd
    >>> from causalkit.scm.fitter import SCMFitter
    >>> x, noise = np.arange(200.0) % 9, np.random.default_rng(0).normal(size=200)
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": 3 * x + noise}))
    >>> plot_mechanism(scm, "y").get_title()
    'y: linear, R2 0.98, predicts'
    """
    if node not in scm.mechanisms:
        raise GraphError(f"{node!r} has no mechanism; known are {', '.join(scm.mechanisms)}", node=node)
    mechanism = scm.mechanisms[node]
    ax = axes_to_draw_on(ax, width=4.5, height=3.2)
    rows = np.flatnonzero(scm.rows_of(node))
    rows = rows[:: max(1, len(rows) // _MAX_POINTS)]
    columns, values = scm.table[list(mechanism.parents)].to_numpy(), scm.table[node].to_numpy()
    # On the scale of the node: a logarithm is shown as what it is the logarithm of.
    to_unit = np.exp if mechanism.log else np.asarray
    if len(mechanism.parents) == 1:
        x = columns[rows, 0]
        steps = np.linspace(x.min(), x.max(), _NUM_STEPS)[:, None]
        ax.plot(x, values[rows], ".", markersize=3, color=GREY, label="recorded")
        ax.plot(steps, to_unit(mechanism.fitted([steps])), color=BLUE, linewidth=2, label="mechanism")
        ax.set(xlabel=mechanism.parents[0], ylabel=node)
    else:
        fitted = to_unit(mechanism.fitted(list(columns[rows].T[:, :, None])))[:, 0]
        ax.plot(fitted, values[rows], ".", markersize=3, color=GREY, label="recorded")
        ends = [fitted.min(), fitted.max()]
        ax.plot(ends, ends, color=BLUE, linewidth=2, label="as the mechanism says")
        ax.set(xlabel=f"{node} from {', '.join(mechanism.parents)}", ylabel=f"{node}, recorded")
    score = next(score for score in scm.report.scores if score.node == node)
    colour = BLACK if score.passed else VERMILION
    ax.set_title(f"{node}: {score.mechanism}, {score.score} {score.r2:.2f}, {score.verdict}", color=colour, fontsize=9)
    ax.legend(fontsize=7, frameon=False)
    strip_spines(ax)
    return ax
