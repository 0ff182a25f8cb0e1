"""How long each step takes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from causalkit.plots.style import BLUE, axes_to_draw_on, strip_spines
from causalkit.workflows.selftime import self_times, unaccounted_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.workflows.traces import Traces

_WHISKERS = (5, 95)


def plot_latency(traces: Traces, *, ax: Axes | None = None) -> Axes:
    """Draw the self time of each step over all runs: box of the middle half, whiskers from 5 % to 95 %.

    Parameters
    ----------
    traces : Traces
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    times = pd.DataFrame([{**self_times(run), "outside all steps": unaccounted_ms(run)} for run in traces])
    ax = axes_to_draw_on(ax, height=1.2 + 0.4 * times.shape[1])
    names = list(times)[::-1]
    boxes = ax.boxplot(
        [times[name].dropna() for name in names],
        orientation="horizontal",
        tick_labels=[f"{name}  (mean {times[name].mean():.1f})" for name in names],
        whis=_WHISKERS,
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        medianprops={"color": "black", "linewidth": 2},
    )
    for box in boxes["boxes"]:
        box.set(facecolor=BLUE, alpha=0.5)
    ax.set(xlabel="own time of the step (milliseconds)", title=f"Where the time goes, {len(times)} runs")
    ax.set_xlim(left=0)
    strip_spines(ax)
    return ax
