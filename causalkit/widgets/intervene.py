"""A slider on one node, the distribution of another, and the reading in words."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from causalkit.plots.interventions import plot_intervention
from causalkit.scm.interventions import check_interventions

if TYPE_CHECKING:
    from causalkit.scm.model import FittedSCM

_STEPS = 40
_DPI = 90


class InterventionView(widgets.VBox):  # type: ignore[misc] # ipywidgets has no types
    """Set a node with a slider and see what happens to an outcome.

    Parameters
    ----------
    scm : FittedSCM
    node : str
        What the slider sets, over the range that was recorded.
    outcome : str, optional
        What is shown; default: the last node of the graph.

    Attributes
    ----------
    slider : ipywidgets.FloatSlider or ipywidgets.IntSlider
    picture : ipywidgets.Image
        The outcome as it is and as it would be.
    reading : ipywidgets.HTML
        The same in words.

    Raises
    ------
    GraphError
        If a node is unknown, or cannot be set because it is derived.
    """

    def __init__(self, scm: FittedSCM, node: str, outcome: str | None = None) -> None:
        check_interventions({node: 0.0}, scm.graph)
        self._scm, self._node, self._outcome = scm, node, outcome or scm.order[-1]
        self.slider = _slider(scm, node)
        self.picture = widgets.Image(format="png")
        self.reading = widgets.HTML()
        self.picture.add_class("causalkit-picture")
        self.reading.add_class("causalkit-reading")
        self.slider.observe(self._draw, names="value")
        self._draw()
        super().__init__([self.slider, self.reading, self.picture])

    def __repr__(self) -> str:
        return f"<InterventionView of {self._node} on {self._outcome}>"

    @property
    def text(self) -> str:
        """The reading at the present position of the slider."""
        return self._result.sentence_about(self._outcome)

    def _draw(self, _: Any = None) -> None:
        self._result = self._scm.intervene({self._node: self.slider.value})
        # A figure of its own, outside pyplot: nothing is left open, whatever the number of moves.
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        plot_intervention(self._result, self._outcome, ax=figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
        self.picture.value = buffer.getvalue()
        self.reading.value = f"<p role='status'>{escape(self.text)}</p>"


def _slider(scm: FittedSCM, node: str) -> Any:
    seen = scm.table[node]
    low, high = float(seen.min()), float(seen.max())
    middle = float(seen.median())
    looks = {"description": node, "style": {"description_width": "initial"}, "layout": {"width": "30em"}}
    if (seen % 1 == 0).all():
        return widgets.IntSlider(value=round(middle), min=round(low), max=round(high), **looks)
    return widgets.FloatSlider(value=middle, min=low, max=high, step=(high - low) / _STEPS or 1.0, **looks)
