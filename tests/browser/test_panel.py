"""The browser tests' own test: on a notebook small enough to know what must be seen."""

from __future__ import annotations

import pytest

from tests.browser.conftest import CellsOpener
from tests.browser.panel import Panel

pytestmark = pytest.mark.browser

SLIDER_WITH_READING_AND_PICTURE = """
import io
import ipywidgets as widgets
import matplotlib.pyplot as plt

slider = widgets.IntSlider(value=2, min=0, max=9, description="number")
reading = widgets.HTML().add_class("causalkit-reading")
picture = widgets.Image(format="png").add_class("causalkit-picture")

def show(change=None):
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.bar(["number"], [slider.value])
    ax.set_ylim(0, 9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    reading.value, picture.value = f"the number is {slider.value}", buffer.getvalue()

show()
slider.observe(show, names="value")
widgets.VBox([slider, reading, picture])
"""


def test_key_and_mouse_move_the_slider_and_a_cell_that_fails_is_seen(open_cells: CellsOpener) -> None:
    notebook = open_cells(SLIDER_WITH_READING_AND_PICTURE, "1 / 0")
    notebook.run_all_cells()
    assert notebook.errors_in_outputs() == ["ZeroDivisionError: division by zero"]

    panel = Panel(notebook.page)
    at_first = panel.look()
    panel.press("End")
    after_key = panel.look_once_both_differ_from(at_first)
    panel.drag_to(0.0)
    after_drag = panel.look_once_both_differ_from(after_key)

    readings = [seen.reading for seen in (at_first, after_key, after_drag)]
    assert readings == ["the number is 2", "the number is 9", "the number is 0"]
    assert len({at_first.picture, after_key.picture, after_drag.picture}) == 3
    assert notebook.complaints == []
