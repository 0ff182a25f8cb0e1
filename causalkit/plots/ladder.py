"""How far each node climbed, and what the climbing won."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import BLUE, GREY, axes_to_draw_on, strip_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.validation import ValidationReport

# Points from the marker to its label: neighbours stand above and below.
_OFFSETS = (8, -13, 16, -21)


def plot_ladder(report: ValidationReport, *, ax: Axes | None = None) -> Axes:
    """Draw, for each node and rung that was tried, the error on rows left out as a share of the first rung's.

    Parameters
    ----------
    report : ValidationReport
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from causalkit.scm.attempts import Attempt, Ladder
    >>> from causalkit.scm.validation import NodeScore, ValidationReport
    >>> ladder = Ladder("polynomial", (Attempt("linear", 2.0, 0.01), Attempt("polynomial", 1.0, 0.5)), "nothing left")
    >>> score = NodeScore("y", "polynomial", 0.9, 0.8, 0.95, True, "predicts", ladder=ladder)
    >>> ax = plot_ladder(ValidationReport((score,), threshold=0.7, num_held_out=50, split="rows"))
    >>> sorted(text.get_text() for text in ax.texts)
    ['linear', 'polynomial (chosen)']
    """
    climbed = [score for score in report.scores if score.ladder.attempts]
    ax = axes_to_draw_on(ax, height=1.2 + 0.7 * len(climbed))
    for place, score in enumerate(reversed(climbed)):
        first = score.ladder.attempts[0].error or 1.0
        for number, attempt in enumerate(score.ladder.attempts):
            chosen = attempt.rung == score.ladder.chosen
            share = attempt.error / first
            ax.plot(
                share,
                place,
                "D" if chosen else "o",
                color=BLUE if chosen else GREY,
                fillstyle="full" if chosen else "none",
                markersize=8 if chosen else 6,
            )
            ax.annotate(
                f"{attempt.rung} (chosen)" if chosen else attempt.rung,
                (share, place),
                xytext=(0, _OFFSETS[number % len(_OFFSETS)]),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
    ax.set_yticks(range(len(climbed)), [score.node for score in reversed(climbed)])
    ax.set_ylim(-0.7, len(climbed) - 0.3)
    ax.set_xlabel("error on rows left out, as a share of the linear mechanism's")
    ax.set_title("What did climbing the ladder win?")
    strip_spines(ax)
    return ax
