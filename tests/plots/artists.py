"""What plot tests look at: artists, not pixels."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba_array

from causalkit.plots import style

NEUTRAL = {"#000000", "#7f7f7f", "#ffffff"}
OKABE_ITO = {
    colour.lower()
    for colour in (
        style.ORANGE, style.SKY, style.GREEN, style.YELLOW, style.BLUE, style.VERMILION, style.PURPLE,
    )
}  # fmt: skip


def legend_texts(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def tick_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def colours(ax: Axes) -> set[str]:
    """The colours of all lines, patches and collections, in lower-case hex."""
    found = {to_hex(line.get_color()) for line in ax.lines}
    found |= {to_hex(patch.get_facecolor()) for patch in ax.patches}
    return found | _of_collections(ax.collections)


def assert_only_the_house_colours(ax: Axes) -> None:
    assert colours(ax) <= OKABE_ITO | NEUTRAL


def _of_collections(collections: Iterable[Collection]) -> set[str]:
    rows = [row for collection in collections for row in to_rgba_array(collection.get_edgecolor())]
    return {to_hex(row) for row in rows}
