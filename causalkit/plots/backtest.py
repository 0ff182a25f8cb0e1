"""Predictions for settings that the model never saw, beside what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import BLUE, GREY, VERMILION, axes_to_draw_on, axis_label, strip_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.backtest import Backtest


def plot_backtest(result: Backtest, *, ax: Axes | None = None) -> Axes:
    """Draw the recorded mean of each setting against the predicted one, with both 95 % intervals.

    Parameters
    ----------
    result : Backtest
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Points on the diagonal are predictions that came true.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.backtest import Backtest
    >>> row = {"predicted": 9.0, "low": 8.0, "high": 10.0, "recorded": 9.5, "recorded_low": 9.0, "recorded_high": 10.0}
    >>> plot_backtest(Backtest("total_ms", pd.DataFrame([{**row, "covered": True}]), [])).get_title()
    '1 settings that the model never saw'
    """
    ax = axes_to_draw_on(ax, width=5.5, height=5.0)
    frame = result.frame
    ends = frame[["low", "recorded_low", "high", "recorded_high"]].to_numpy(dtype=float)
    diagonal = [ends.min(), ends.max()]
    ax.plot(diagonal, diagonal, color=GREY, linestyle="--", linewidth=1, label="prediction = record")
    for held, label, colour, marker in (
        (True, "difference within its interval", BLUE, "o"),
        (False, "outside", VERMILION, "X"),
    ):
        part = frame[frame["covered"] == held]
        if part.empty:
            continue
        ax.errorbar(
            part["predicted"], part["recorded"],
            xerr=[part["predicted"] - part["low"], part["high"] - part["predicted"]],
            yerr=[part["recorded"] - part["recorded_low"], part["recorded_high"] - part["recorded"]],
            fmt=marker, color=colour, linewidth=1, label=f"{label} ({len(part)})",
        )  # fmt: skip
    ax.set(xlabel=f"predicted mean {axis_label(result.outcome)}", ylabel="recorded mean, with 95 % intervals")
    ax.set_title(f"{len(frame)} settings that the model never saw")
    ax.legend(fontsize=8, frameon=False)
    strip_spines(ax)
    return ax
