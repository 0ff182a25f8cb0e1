"""Which mechanism predicts rows it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import BLUE, GREY, VERMILION, axes_to_draw_on, strip_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.validation import ValidationReport

# Further left a bar would only say how much worse than the mean; the number says that.
_LEFT = -0.5


def plot_validation(report: ValidationReport, *, ax: Axes | None = None) -> Axes:
    """Draw the held-out R2 of every node with its 95 % interval, against the threshold.

    Parameters
    ----------
    report : ValidationReport
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from causalkit.scm.validation import NodeScore, ValidationReport
    >>> scores = (NodeScore("rank_ms", "linear", 0.9, 0.8, 0.95, True, "predicts"),)
    >>> ax = plot_validation(ValidationReport(scores, threshold=0.7, num_held_out=50, split="rows"))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['rank_ms']
    """
    scores = sorted(report.scores, key=lambda score: score.r2)
    ax = axes_to_draw_on(ax, height=1.2 + 0.4 * len(scores))
    for place, score in enumerate(scores):
        colour, marker = (BLUE, "o") if score.passed else (VERMILION, "X")
        ax.plot([max(score.low, _LEFT), max(score.high, _LEFT)], [place, place], color=colour, linewidth=2)
        ax.plot(max(score.r2, _LEFT), place, marker=marker, markersize=9, color=colour)
        ax.annotate(f"{score.r2:.2f}  {score.verdict}", (1.04, place), va="center", annotation_clip=False, fontsize=9)
    ax.axvline(report.threshold, color=GREY, linestyle="--", linewidth=1)
    ax.annotate(
        f"threshold {report.threshold:g}",
        (report.threshold, len(scores) - 0.45),
        ha="center",
        color=GREY,
        fontsize=8,
    )
    ax.set_yticks(range(len(scores)), [score.node for score in scores])
    ax.set(
        xlim=(min(-0.05, max(_LEFT, min((s.low for s in scores), default=0))), 1.02),
        ylim=(-0.6, len(scores) - 0.2),
    )
    ax.set_xlabel("R2 on held-out rows (share of variance explained), with 95 % interval")
    ax.set_title(f"Does each mechanism hold on unseen rows? ({report.num_held_out} rows, split by {report.split})")
    strip_spines(ax)
    return ax
