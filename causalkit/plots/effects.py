"""Effects side by side, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from causalkit.errors import CausalkitError
from causalkit.plots.style import BLUE, GREY, ORANGE, axes_to_draw_on, axis_label, strip_spines
from causalkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.effects import EffectResult


def plot_effects(effects: Sequence[EffectResult], *, ax: Axes | None = None) -> Axes:
    """Draw average effects on one outcome, largest first, with 95 % intervals.

    Parameters
    ----------
    effects : sequence of EffectResult
        All on the same outcome.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    CausalkitError
        If there is no effect, or effects are on different outcomes.

    Examples
    --------
    >>> from causalkit.scm.effects import EffectResult
    >>> ax = plot_effects([EffectResult("depth", "total_ms", "do(depth +1)", 2.0, (1.5, 2.5), True, [])])
    >>> ax.get_xlabel()
    'change of mean total_ms (milliseconds)'
    """
    outcomes = {effect.outcome for effect in effects}
    if len(outcomes) != 1:
        raise CausalkitError(f"effects on one outcome are drawn together, not on {len(outcomes)} outcomes")
    ordered = sorted(effects, key=lambda effect: abs(effect.value))
    ax = axes_to_draw_on(ax, height=1.4 + 0.45 * len(ordered))
    for place, effect in enumerate(ordered):
        colour, marker = (BLUE, "o") if effect.experimental else (ORANGE, "D")
        ax.plot(effect.interval, [place, place], color=colour, linewidth=2)
        ax.plot(effect.value, place, marker=marker, markersize=8, color=colour)
        ax.annotate(
            number(effect.value, signed=True),
            (effect.value, place),
            (0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    kinds = {effect.experimental for effect in effects}
    for known, label, colour, marker in (
        (True, "set at random", BLUE, "o"),
        (False, "observational", ORANGE, "D"),
    ):
        if known in kinds:
            ax.plot([], [], color=colour, marker=marker, label=label)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(ordered)), [effect.contrast for effect in ordered])
    ax.margins(x=0.15)
    ax.set(ylim=(-0.6, len(ordered) - 0.3), title="Average effects with 95 % intervals")
    ax.set_xlabel(f"change of mean {axis_label(outcomes.pop())}")
    ax.legend(fontsize=8, frameon=False, loc="best")
    strip_spines(ax)
    return ax
