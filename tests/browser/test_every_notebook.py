from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Opener

pytestmark = pytest.mark.browser
# The first notebook has a test of its own, which turns its slider.
OTHERS = sorted((Path(__file__).parents[2] / "notebooks").glob("0[1-9]*.ipynb"))


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_browser_without_error(open_notebook: Opener, path: Path) -> None:
    notebook = open_notebook(path)
    notebook.run_all_cells()
    assert notebook.errors_in_outputs() == []
    assert notebook.complaints == []
