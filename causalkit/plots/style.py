"""What all pictures share: colours, and axes to draw on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito 2008, *Color Universal Design*.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
OKABE_ITO = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
"""For kinds that are drawn one beside the other; each needs a marker or dashes of its own, too."""


def axes_to_draw_on(ax: Axes | None, *, width: float = 7.5, height: float = 4.0) -> Axes:
    """Return `ax`, or fresh axes of this size in inches."""
    if ax is not None:
        return ax
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def strip_spines(ax: Axes) -> None:
    """Leave only the axes that carry a scale."""
    ax.spines[["top", "right"]].set_visible(False)


def axis_label(node: str) -> str:
    """Return a node's name with its unit, as an axis needs it.

    Examples
    --------
    >>> axis_label("total_latency_ms"), axis_label("rerank_depth")
    ('total_latency_ms (milliseconds)', 'rerank_depth')
    """
    units = {"_ms": "milliseconds", "_mb": "megabytes", "_s": "seconds", "_usd": "US dollars"}
    unit = next((name for ending, name in units.items() if node.endswith(ending)), None)
    return f"{node} ({unit})" if unit else node
