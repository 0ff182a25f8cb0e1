"""What a change of a target is made of: a waterfall from before to after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Patch

from causalkit.plots.style import BLACK, GREY, SKY, VERMILION, axes_to_draw_on, axis_label, strip_spines
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.changes import Change

# Colour and hatch, by which way a part moves the target.
_UP, _DOWN, _UNEXPLAINED = (VERMILION, ""), (SKY, "//"), ("white", "xx")
_ROOM_FOR_TEXT = 0.35


def plot_change(change: Change, *, ax: Axes | None = None) -> Axes:
    """Draw how each changed mechanism moved a statistic of the target, from before to after, with 95 % intervals.

    Parameters
    ----------
    change : Change
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the words "no mechanism changed" on it where none did.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.changes import Change
    >>> causes = pd.DataFrame([("rank_ms", "mechanism", 8.0, 6.0, 9.5)])
    >>> causes.columns = ["node", "kind", "contribution", "low", "high"]
    >>> change = Change("total_ms", "mean", 50.0, 59.0, 9.0, (7.0, 11.0), causes, 1.0, (400, 400), [])
    >>> plot_change(change).get_title()
    'mean of total_ms: 50.00 before, 59.00 after, change +9.00 (+7.00 to +11.00)'
    """
    parts = change.frame.to_dict("records")
    ax = axes_to_draw_on(ax, width=9.0, height=1.6 + 0.45 * (len(parts) + 3))
    names = ["before", *(f"{part['node']}\n{part['kind']}" for part in parts), "unexplained", "after"]
    level = change.before
    for place, part in enumerate(parts, start=1):
        reach = (part["low"], part["high"])
        _draw_part(ax, place, level, part["contribution"], _UP if part["contribution"] > 0 else _DOWN, reach)
        level += part["contribution"]
    _draw_part(ax, len(parts) + 1, level, change.unexplained, _UNEXPLAINED, None)
    for place, value in ((0, change.before), (len(names) - 1, change.after)):
        ax.plot(value, place, color=BLACK, marker="D", linestyle="")
        _annotate(ax, value, place, number(value))
    if not parts:
        ax.annotate("no mechanism changed", (0.5, 0.3), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.use_sticky_edges = False
    ax.margins(x=0.05)
    left, right = ax.get_xlim()
    ax.set_xlim(left, right + _ROOM_FOR_TEXT * (right - left))
    # A variance is not in the unit of its node.
    scale = change.target if change.of == "variance" else axis_label(change.target)
    ax.set_xlabel(f"{change.of} of {scale}, parts with 95 % intervals")
    ax.set_title(
        f"{change.of} of {change.target}: {number(change.before)} before, {number(change.after)} after, "
        f"change {number(change.difference, signed=True)} ({interval(change.interval, signed=True)})",
        fontsize=10,
    )
    _legend(ax, {part["contribution"] > 0 for part in parts})
    strip_spines(ax)
    return ax


def _draw_part(
    ax: Axes, place: int, level: float, step: float, look: tuple[str, str], reach: tuple[float, float] | None
) -> None:
    colour, hatch = look
    edge = GREY if reach is None else BLACK
    ax.barh(place, step, left=level, height=0.6, color=colour, hatch=hatch, edgecolor=edge, linewidth=0.8)
    ax.plot([level, level], [place - 1, place], color=GREY, linewidth=0.8)
    ax.plot([level + step] * 2, [place, place + 1], color=GREY, linewidth=0.8)
    text, end = number(step, signed=True), max(level, level + step)
    if reach is not None:
        low, high = reach
        ax.plot([level + low, level + high], [place, place], color=BLACK, linewidth=1.5, marker="|")
        text, end = f"{text} ({interval(reach, signed=True)})", max(end, level + high)
    _annotate(ax, end, place, text)


def _annotate(ax: Axes, value: float, place: int, text: str) -> None:
    ax.annotate(text, (value, place), (8, 0), textcoords="offset points", va="center", fontsize=9)


def _legend(ax: Axes, rises: set[bool]) -> None:
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=GREY if label == "unexplained" else BLACK, label=label)
        for (colour, hatch), label, drawn in (
            (_UP, "moves it up", True in rises),
            (_DOWN, "moves it down", False in rises),
            (_UNEXPLAINED, "unexplained", True),
        )
        if drawn
    ]
    ax.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
