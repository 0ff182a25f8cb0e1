from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Opener
from tests.browser.panel import Panel

pytestmark = pytest.mark.browser
FIRST_NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"


def test_the_first_notebook_runs_and_its_slider_changes_words_and_picture(
    open_notebook: Opener, tmp_path: Path
) -> None:
    notebook = open_notebook(FIRST_NOTEBOOK)
    notebook.run_all_cells()
    assert notebook.errors_in_outputs() == []

    panel = Panel(notebook.page)
    at_first = panel.look()
    panel.press("End")
    after_key = panel.look_once_both_differ_from(at_first)
    panel.drag_to(0.3)
    after_drag = panel.look_once_both_differ_from(after_key)
    notebook.page.screenshot(path=tmp_path / "start_here.png")

    assert at_first.reading != after_key.reading != after_drag.reading
    assert at_first.picture != after_key.picture != after_drag.picture
    assert notebook.complaints == []
