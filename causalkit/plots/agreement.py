"""How far ensembles disagree, and how often judges are right where votes agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from causalkit.plots.style import BLUE, GREY, VERMILION, axes_to_draw_on, strip_spines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from causalkit.operators.findings import EnsembleDisagreement, JudgeAccuracy

_MARGIN = 0.05
_MOST_COLUMNS = 6
# On a scale of shares, and as much of its height.
_STEP, _MOST_SPREAD = 0.014, 0.12
_NAME_WIDTH, _NAME_HEIGHT = 0.011, 0.12
_LEAST_AREA, _MORE_AREA = 6.0, 60.0


def plot_judge_accuracy(judge_accuracy: JudgeAccuracy, *, ax: Axes | None = None) -> Axes:
    """Draw how often judges are right at each level of agreement, the best first, with 95 % intervals.

    More than six levels stand on a scale of the share that agrees; there equal shares, as 2/4 and 3/6, stand side by
    side, and a level is named where there is room.

    Parameters
    ----------
    judge_accuracy : JudgeAccuracy
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the words "nothing to draw" on it where there is no level.

    Examples
    --------
    >>> from causalkit.operators.findings import JudgeAccuracy
    >>> from causalkit.operators.intervals import share
    >>> plot_judge_accuracy(JudgeAccuracy({"3/3": share([1] * 45 + [0] * 5)}, [], 0, 0)).get_title()
    'How often judges are right, 50 verdicts'
    """
    frame = judge_accuracy.to_frame()
    if len(frame) > _MOST_COLUMNS:
        ax = _draw_on_scale(axes_to_draw_on(ax), frame)
    else:
        ax = _draw_points(ax, frame["agreement"], frame["accuracy"], frame, BLUE, "o")
        ax.set_xlabel("votes that agree / votes")
    ax.set_ylabel("share of right verdicts, with 95 % interval")
    ax.set_title(f"How often judges are right, {frame['n'].sum()} verdicts")
    return ax


def plot_disagreement(disagreement: EnsembleDisagreement, *, ax: Axes | None = None) -> Axes:
    """Draw the mean disagreement of each stage, with 95 % intervals.

    Parameters
    ----------
    disagreement : EnsembleDisagreement
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.operators.findings import EnsembleDisagreement
    >>> calls = pd.DataFrame({"stage": "ensemble_1", "disagreement": [0.0] * 45 + [1.0] * 5})
    >>> plot_disagreement(EnsembleDisagreement(calls, [], "pairwise", tuple(range(50)))).get_title()
    'How far votes disagree, 50 calls'
    """
    frame = disagreement.by_stage().reset_index()
    ax = _draw_points(ax, frame["stage"].map(_stage_name), frame["value"], frame, VERMILION, "D")
    label = "share of calls that are not unanimous" if disagreement.measure == "non_unanimous" else (
        f"disagreement ({disagreement.measure}; 0 to 1)"
    )  # fmt: skip
    ax.set(xlabel="stage", ylabel=f"{label},\nwith 95 % interval")
    ax.set_title(f"How far votes disagree, {frame['n'].sum()} calls")
    return ax


def _draw_points(
    ax: Axes | None, labels: pd.Series[str], values: pd.Series[float], frame: pd.DataFrame, colour: str, marker: str
) -> Axes:
    ax = axes_to_draw_on(ax, width=2.5 + 1.1 * max(len(frame), 2))
    places = range(len(frame))
    reach = [values - frame["low"], frame["high"] - values]
    ax.errorbar(places, values, yerr=reach, fmt=marker, color=colour, linewidth=1.5, capsize=4)
    for place, value, count in zip(places, values, frame["n"], strict=True):
        ax.annotate(
            f"{value:.2f}\nn = {count}", (place, value), (9, 0), textcoords="offset points", va="center", fontsize=9
        )
    if frame.empty:
        ax.annotate("nothing to draw", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_xticks(places, labels, parse_math=False)
    ax.set_xlim(-0.5, max(len(frame), 1) - 0.2)
    ax.set_ylim(-_MARGIN, 1 + _MARGIN)
    strip_spines(ax)
    return ax


def _draw_on_scale(ax: Axes, frame: pd.DataFrame) -> Axes:
    places = _side_by_side([Fraction(level) for level in frame["agreement"]])
    reach = [frame["accuracy"] - frame["low"], frame["high"] - frame["accuracy"]]
    ax.errorbar(places, frame["accuracy"], yerr=reach, fmt="none", ecolor=GREY, elinewidth=0.8)
    areas = _LEAST_AREA + _MORE_AREA * frame["n"] / frame["n"].max()
    ax.scatter(places, frame["accuracy"], s=areas, color=BLUE, zorder=3)
    named: list[tuple[float, float]] = []
    # Where only one of two can be named, it is the one that more verdicts stand behind.
    rows = zip(frame["n"], places, frame["low"], frame["agreement"], strict=True)
    for _, place, low, level in sorted(rows, key=lambda row: -row[0]):
        if all(abs(place - x) > _NAME_WIDTH or abs(low - y) > _NAME_HEIGHT for x, y in named):
            named.append((place, low))
            ax.annotate(
                level, (place, low), (0, -3), textcoords="offset points", rotation=90, ha="center", va="top", fontsize=7
            )
    ax.set_ylim(-_NAME_HEIGHT, 1 + _MARGIN)
    ax.set_xlabel("votes that agree / votes; equal shares stand side by side, larger points are of more verdicts")
    strip_spines(ax)
    return ax


def _side_by_side(shares: Sequence[Fraction]) -> list[float]:
    """Return the shares as places, equal ones apart around their common place."""
    counts, seen, places = Counter(shares), Counter[Fraction](), []
    for share in shares:
        step = min(_STEP, _MOST_SPREAD / counts[share])
        places.append(float(share) + step * (seen[share] - (counts[share] - 1) / 2))
        seen[share] += 1
    return places


def _stage_name(stage: str | None) -> str:
    return stage if isinstance(stage, str) else "(no stage)"
