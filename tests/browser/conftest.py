from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser

from tests.browser.lab import Lab, OpenNotebook, chromium, jupyter_lab, opened, why_no_browser

Opener = Callable[[Path], OpenNotebook]
CellsOpener = Callable[..., OpenNotebook]


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := why_no_browser():
        pytest.skip(reason)
    with jupyter_lab(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")) as running:
        yield running


# Not for the whole session: an open playwright keeps an event loop in this thread, and nbval needs its own.
@pytest.fixture(scope="module")
def browser(lab: Lab) -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser) -> Iterator[Opener]:
    """Open a copy of a notebook, so that nothing a test does is saved into the original."""
    with ExitStack() as stack:

        def open_copy(path: Path) -> OpenNotebook:
            shutil.copy(path, lab.folder)
            return stack.enter_context(opened(browser, lab, path.name))

        yield open_copy


@pytest.fixture
def open_cells(open_notebook: Opener, tmp_path: Path) -> CellsOpener:
    """Open a notebook made of these sources."""

    def open_new(*sources: str) -> OpenNotebook:
        kernel = {"name": "python3", "display_name": "Python 3"}
        cells = [new_code_cell(source) for source in sources]
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "small.ipynb")
        return open_notebook(tmp_path / "small.ipynb")

    return open_new
