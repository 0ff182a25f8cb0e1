"""How far each metric of a regression run is from its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import BLUE, GREEN, GREY, VERMILION, axes_to_draw_on, strip_spines
from causalkit.workflows.regression_compare import STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.workflows.regression_compare import Difference
    from causalkit.workflows.regression_report import RegressionReport

# A verdict is told by shape as well as by colour.
_MARKS = {"worse": ("v", VERMILION), "better": ("^", GREEN), "": ("o", BLUE)}
_LABELS = {"worse": "worse", "better": "better", "": "no difference shown"}


def plot_regression(report: RegressionReport, *, ax: Axes | None = None) -> Axes:
    """Draw the difference of each metric from the baseline with its interval; without a baseline, each case's latency.

    Parameters
    ----------
    report : RegressionReport
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    if report.comparison is None:
        return _plot_cases(report, ax)
    found = [report.comparison.primary, *report.comparison.secondary]
    metrics = [metric for metric in found if metric.verdict or not metric.name.startswith(STEP)][::-1]
    ax = axes_to_draw_on(ax, height=1.6 + 0.4 * len(metrics))
    ax.axvline(0, color=GREY, linewidth=1)
    for verdict, (marker, colour) in _MARKS.items():
        label = _LABELS[verdict]
        for place, metric in enumerate(metrics):
            if metric.verdict == verdict:
                middle, low, high = _percent(metric)
                ax.plot([low, high], [place, place], color=colour, linewidth=2)
                ax.plot([middle], [place], marker=marker, color=colour, markersize=8, linestyle="", label=label)
                label = "_already named"
    ax.set_yticks(range(len(metrics)), [f"{metric.name} ({_unit(metric)})" for metric in metrics])
    ax.set_xlabel("difference from the baseline, 95 % interval")
    ax.set_title(f"{len(report.comparison.worse)} of {len(found)} metrics worse, {metrics[-1].cases} cases")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    strip_spines(ax)
    return ax


def _plot_cases(report: RegressionReport, ax: Axes | None) -> Axes:
    ax = axes_to_draw_on(ax)
    for passed, marker, colour in ((True, "o", BLUE), (False, "X", VERMILION)):
        mine = [(n, r.latency_ms) for n, r in enumerate(report.results) if r.passed == passed and r.latency_ms]
        label = f"{'passed' if passed else 'failed'} ({sum(r.passed == passed for r in report.results)})"
        places, latencies = [place for place, _ in mine], [latency for _, latency in mine]
        ax.plot(places, latencies, marker=marker, color=colour, linestyle="", label=label)
    ax.set(xlabel="run, in the order of the cases", ylabel="latency (milliseconds)")
    ax.set_title(f"{report.passed} of {report.total} runs passed")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    strip_spines(ax)
    return ax


def _percent(metric: Difference) -> tuple[float, float, float]:
    scale = 100.0 if metric.unit in ("share", "relative") else 100.0 / (abs(metric.baseline) or 1.0)
    return metric.difference * scale, metric.low * scale, metric.high * scale


def _unit(metric: Difference) -> str:
    if metric.unit == "share":
        return "percentage points"
    return "%" if metric.unit == "relative" or metric.baseline else "100 per unit"
