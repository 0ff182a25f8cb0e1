"""Rows as they were and as they would have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from causalkit.errors import GraphError
from causalkit.plots.style import BLUE, GREY, SKY, axes_to_draw_on, axis_label, strip_spines
from causalkit.scm.interventions import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.counterfactuals import Counterfactual

# More rows than this are points, not lines with two ends.
_MAX_ROWS = 40


def plot_counterfactual(result: Counterfactual, node: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw what a node was in each row beside what it would have been.

    Parameters
    ----------
    result : Counterfactual
    node : str, optional
        Default: the outcome of the result.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Up to 40 rows as pairs of points, largest rise on top; more as a cloud beside the diagonal. Labels are counted:
        how many rows went from which to which.

    Raises
    ------
    GraphError
        If the result has no such node.

    Examples
    --------
    >>> from causalkit.scm.counterfactuals import Counterfactual
    >>> rows = pd.DataFrame({"depth": [2.0], "total_ms": [9.0]})
    >>> plot_counterfactual(Counterfactual({"depth": 1}, rows, rows - 1, "total_ms", [])).get_title()
    'total_ms of 1 row under do(depth = 1)'
    """
    node = node or result.outcome
    if node not in result.frame:
        raise GraphError(f"{node!r} is no node of the result; known are {', '.join(map(str, result.frame))}", node=node)
    before, after = result.observed[node], result.frame[node]
    done = describe(result.interventions)
    title = f"{node} of {len(after)} row{'s' if len(after) > 1 else ''} under {done}"
    if after.dtype.kind not in "iuf":
        ax = _draw_counts(before, after, ax)
        title += f":\n{(before != after).mean():.0%} would have been another"
    elif len(after) <= _MAX_ROWS:
        ax = _draw_pairs(before, after, ax)
        ax.set(xlabel=axis_label(node), ylabel="row")
    else:
        ax = _draw_cloud(before, after, ax)
        ax.set(xlabel=f"{axis_label(node)}, as recorded", ylabel=f"under {done}")
    ax.set_title(title)
    strip_spines(ax)
    return ax


def _draw_pairs(before: pd.Series, after: pd.Series, ax: Axes | None) -> Axes:
    ax = axes_to_draw_on(ax, height=1.8 + 0.22 * len(after))
    rows = pd.DataFrame({"before": before, "after": after})
    rows = rows.iloc[(rows["after"] - rows["before"]).argsort(kind="stable")]
    places = range(len(rows))
    ax.hlines(places, rows["before"], rows["after"], color=GREY, linewidth=1, zorder=1)
    ax.plot(rows["before"], places, "o", color=GREY, markerfacecolor="white", label="as recorded")
    ax.plot(rows["after"], places, "D", color=BLUE, markersize=5, label="would have been")
    ax.set_yticks(places, [str(name) for name in rows.index], fontsize=8)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.legend(fontsize=8, frameon=False)
    return ax


def _draw_cloud(before: pd.Series, after: pd.Series, ax: Axes | None) -> Axes:
    ax = axes_to_draw_on(ax, width=5.5, height=5.0)
    ends = [min(before.min(), after.min()), max(before.max(), after.max())]
    ax.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="unchanged")
    ax.plot(before, after, "o", color=BLUE, markersize=3, alpha=0.5, label="a row")
    ax.legend(fontsize=8, frameon=False)
    return ax


def _draw_counts(before: pd.Series, after: pd.Series, ax: Axes | None) -> Axes:
    was, would = before.astype(str).to_numpy(), after.astype(str).to_numpy()
    labels = sorted({*was, *would})
    counts = pd.crosstab(was, would).reindex(index=labels, columns=labels, fill_value=0)
    ax = axes_to_draw_on(ax, width=3.0 + 0.9 * len(labels), height=2.2 + 0.6 * len(labels))
    for row, numbers in enumerate(counts.to_numpy()):
        for column, count in enumerate(numbers):
            moved = bool(row != column and count)
            ax.barh(row, 0.94, left=column - 0.47, height=0.94, color=SKY if moved else "white", edgecolor=GREY)
            ax.annotate(str(count), (column, row), ha="center", va="center", weight="bold" if moved else "normal")
    ax.set_xticks(range(len(labels)), counts.columns)
    ax.set_yticks(range(len(labels)), counts.index)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set(xlabel="would have been", ylabel="as recorded")
    return ax
