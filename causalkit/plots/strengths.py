"""How strong each cause is, beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from causalkit.plots.style import BLACK, BLUE, GREY, ORANGE, axes_to_draw_on, strip_spines
from causalkit.wording import interval, number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_ROOM_FOR_TEXT, _LETTER_WIDTH = 0.3, 0.08


class HasBars(Protocol):
    """An answer that can be drawn as bars."""

    def bars(self) -> tuple[str, str, pd.DataFrame]:
        """Return a title, what is on the axis, and the bars: ``name, value, low, high``."""


def plot_strengths(result: HasBars, *, ax: Axes | None = None) -> Axes:
    """Draw one bar a name with its 95 % interval, the largest on top.

    Parameters
    ----------
    result : HasBars
        A ranking, such as `FittedSCM.strengths` gives.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the words "nothing to draw" on it where nothing is ranked.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.strengths import Strengths
    >>> edges = pd.DataFrame({"parent": ["depth"], "strength": 4.0, "share": 0.8, "low": 3.5, "high": 4.5})
    >>> plot_strengths(Strengths(edges, [], "total_ms", "variance")).get_title()
    'Direct causes of total_ms'
    """
    title, label, frame = result.bars()
    ordered = frame.sort_values("value", key=abs, kind="stable")
    longest = max(map(len, ordered["name"]), default=0)
    ax = axes_to_draw_on(ax, width=6.5 + _LETTER_WIDTH * longest, height=1.5 + 0.45 * max(len(ordered), 1))
    for place, bar in enumerate(ordered.to_dict("records")):
        falls = bar["value"] < 0
        ax.barh(place, bar["value"], color=ORANGE if falls else BLUE, hatch="//" if falls else "", alpha=0.7)
        ax.plot([bar["low"], bar["high"]], [place, place], color=BLACK, linewidth=1.5, marker="|")
        ax.annotate(
            f"{number(bar['value'])} ({interval((bar['low'], bar['high']))})",
            (max(bar["high"], bar["value"], 0), place), (8, 0), textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    if frame.empty:
        ax.annotate("nothing to draw", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_yticks(range(len(ordered)), list(ordered["name"]))
    ax.axvline(0, color=GREY, linewidth=1)
    left, right = ax.get_xlim()
    ax.set_xlim(left, right + _ROOM_FOR_TEXT * (right - left))
    ax.set_xlabel(label)
    ax.set_title(title)
    strip_spines(ax)
    return ax
