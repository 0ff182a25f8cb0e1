"""Ranked root causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import GREY, SKY, VERMILION, axes_to_draw_on, axis_label, strip_spines
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.causes import RootCauses


def plot_root_causes(result: RootCauses, *, ax: Axes | None = None) -> Axes:
    """Draw how much each cause moved the target, best first, with 95 % intervals.

    Parameters
    ----------
    result : RootCauses
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the words "nothing abnormal" on it where nothing is.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.causes import RootCauses
    >>> causes = pd.DataFrame({"node": ["rank_ms"], "contribution": [8.0], "low": [6.0], "high": [10.0]})
    >>> plot_root_causes(RootCauses("total_ms", 9.0, 40, causes, [])).get_title()
    'What moved total_ms by +9.00 in 40 rows'
    """
    causes = result.frame.iloc[::-1].reset_index(drop=True)
    ax = axes_to_draw_on(ax, height=1.5 + 0.45 * max(len(causes), 1))
    for place, cause in enumerate(causes.to_dict("records")):
        pushing = cause["contribution"] * result.difference > 0
        ax.barh(
            place,
            cause["contribution"],
            color=VERMILION if pushing else SKY,
            hatch="" if pushing else "//",
            alpha=0.7,
        )
        ax.plot([cause["low"], cause["high"]], [place, place], color="black", linewidth=1.5, marker="|")
        ax.annotate(
            f" {number(cause['contribution'], signed=True)} ({interval((cause['low'], cause['high']), signed=True)})",
            (max(cause["high"], 0), place), (4, 0), textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    if causes.empty:
        ax.annotate("nothing abnormal", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_yticks(range(len(causes)), list(causes["node"]))
    ax.axvline(0, color=GREY, linewidth=1)
    ax.margins(x=0.35)
    ax.set_xlabel(f"contribution to mean {axis_label(result.target)}, 95 % interval")
    rows = f"{result.num_rows} row" + ("s" if result.num_rows > 1 else "")
    ax.set_title(f"What moved {result.target} by {number(result.difference, signed=True)} in {rows}")
    strip_spines(ax)
    return ax
