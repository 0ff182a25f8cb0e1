"""An outcome's mean over the settings of a treatment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.colors import to_rgba

from causalkit.errors import CausalkitError
from causalkit.plots.style import BLUE, ORANGE, axes_to_draw_on, axis_label, strip_spines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from causalkit.scm.effect_curves import EffectCurve

# Beyond this many settings markers run into one another.
_MAX_MARKERS = 25


def plot_effect_curve(curve: EffectCurve, *, ax: Axes | None = None) -> Axes:
    """Draw the outcome's mean over the treatment's settings, with its 95 % interval.

    Parameters
    ----------
    curve : EffectCurve
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A line in a band where settings are numbers, dashed in a hatched band where none was recorded; points with
        error bars where settings are labels.

    Raises
    ------
    CausalkitError
        If the curve has no setting.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.effect_curves import EffectCurve
    >>> rows = [(1, 10.0, 9.0, 11.0, False), (8, 31.0, 29.0, 33.0, False)]
    >>> frame = pd.DataFrame(rows, columns=["value", "mean", "low", "high", "extrapolated"])
    >>> plot_effect_curve(EffectCurve("depth", "total_ms", frame, True, [])).get_ylabel()
    'mean total_ms (milliseconds)'
    """
    if curve.frame.empty:
        raise CausalkitError(f"the curve of {curve.outcome} over {curve.treatment} has no setting to draw")
    ax = axes_to_draw_on(ax)
    colour, marker = (BLUE, "o") if curve.experimental else (ORANGE, "D")
    numeric = curve.frame["value"].dtype.kind in "iuf"
    (_draw_line if numeric else _draw_points)(ax, curve.frame, colour, marker)
    kind = "set at random" if curve.experimental else "observational"
    ax.set_title(f"What setting {curve.treatment} does to {curve.outcome} ({kind})")
    ax.set(xlabel=axis_label(curve.treatment), ylabel=f"mean {axis_label(curve.outcome)}")
    ax.legend(fontsize=8, frameon=False)
    strip_spines(ax)
    return ax


def _draw_line(ax: Axes, frame: pd.DataFrame, colour: str, marker: str) -> None:
    frame = frame.sort_values("value")
    outside = frame["extrapolated"].to_numpy(dtype=bool)
    # The dashed line begins at the last setting that was recorded, so that the two meet.
    dashed = outside.copy()
    dashed[1:] |= outside[:-1]
    dashed[:-1] |= outside[1:]
    shown = marker if len(frame) <= _MAX_MARKERS else ""
    for part, label, dashes, hatch in (
        (~outside, "recorded, 95 % interval", "-", ""),
        (dashed, "extrapolation", "--", "//"),
    ):
        if not outside.any() and label == "extrapolation":
            continue
        ax.plot(
            frame["value"], frame["mean"].where(part),
            color=colour, linestyle=dashes, linewidth=2, marker=shown, markersize=4, label=label,
        )  # fmt: skip
        ax.fill_between(
            frame["value"], frame["low"], frame["high"],
            where=part, facecolor=to_rgba(colour, 0.2), edgecolor=colour, linewidth=0, hatch=hatch,
        )  # fmt: skip


def _draw_points(ax: Axes, frame: pd.DataFrame, colour: str, marker: str) -> None:
    reach = [frame["mean"] - frame["low"], frame["high"] - frame["mean"]]
    places = range(len(frame))
    ax.errorbar(
        places, frame["mean"], yerr=reach, fmt=marker, color=colour, linewidth=2, capsize=4, label="95 % interval"
    )
    ax.set_xticks(places, [str(value) for value in frame["value"]])
    ax.margins(x=0.2)
