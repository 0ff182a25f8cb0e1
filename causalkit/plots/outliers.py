"""Outliers and what made each of them one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import GREY, SKY, VERMILION, axes_to_draw_on, axis_label, strip_spines
from causalkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.outliers import Outliers

_MOST = 30


def plot_outliers(result: Outliers, *, ax: Axes | None = None) -> Axes:
    """Draw the causes of each outlier, the row with the least likely target on top, with 95 % intervals.

    Parameters
    ----------
    result : Outliers
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the first 30 bars; the words "no outlier" where there is none.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.outliers import Outliers
    >>> scores = pd.DataFrame({"row": [7], "score": [9.0], "outlier": [True]})
    >>> causes = pd.DataFrame({"row": [7], "node": ["rank_ms"], "contribution": [8.0], "low": [6.0], "high": [10.0]})
    >>> [label.get_text() for label in plot_outliers(Outliers("total_ms", scores, causes, [])).get_yticklabels()]
    ['row 7: rank_ms']
    """
    worst = result.scores.sort_values("score", ascending=False, kind="stable")["row"].tolist()
    places = {row: place for place, row in enumerate(worst)}
    order = result.frame["row"].map(places).to_numpy().argsort(kind="stable")
    shown = result.frame.iloc[order[:_MOST]].iloc[::-1].reset_index(drop=True)
    ax = axes_to_draw_on(ax, height=1.5 + 0.4 * max(len(shown), 1))
    for place, cause in enumerate(shown.to_dict("records")):
        up = cause["contribution"] > 0
        colour, hatch = (VERMILION, "") if up else (SKY, "//")
        ax.barh(place, cause["contribution"], color=colour, hatch=hatch, alpha=0.7)
        ax.plot([cause["low"], cause["high"]], [place, place], color="black", linewidth=1.5, marker="|")
        ax.annotate(
            number(cause["contribution"], signed=True),
            (max(cause["high"], 0), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    if shown.empty:
        ax.annotate("no outlier explained", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_yticks(
        range(len(shown)), [f"row {row}: {node}" for row, node in zip(shown["row"], shown["node"], strict=True)]
    )
    ax.axvline(0, color=GREY, linewidth=1)
    ax.margins(x=0.2)
    ax.set_xlabel(f"contribution to {axis_label(result.target)}, 95 % interval")
    out = int(result.scores["outlier"].sum())
    ax.set_title(f"{out} of {len(result.scores)} rows are outliers in {result.target}")
    strip_spines(ax)
    return ax
