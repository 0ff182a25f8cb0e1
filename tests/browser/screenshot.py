"""Photograph a notebook in full length as JupyterLab shows it.

``python -m tests.browser.screenshot notebooks/00_start_here.ipynb out.png [--as-saved]``
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from tests.browser.lab import VIEWPORT, chromium, jupyter_lab, opened, why_no_browser

LENGTH = """() => {
    const scrolled = document.querySelectorAll('.jp-Notebook, .jp-WindowedPanel-outer');
    return Math.max(...[...scrolled].map(element => element.scrollHeight));
}"""
# After a run the last cell is in view.
TO_THE_TOP = "() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(panel => { panel.scrollTop = 0; })"
ROOM_FOR_TOOLBARS_PX = 150
SETTLE_MS = 1500


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Photograph a notebook in full length.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--as-saved", action="store_true", help="show the saved outputs instead of running all cells")
    options = parser.parse_args(arguments)
    if reason := why_no_browser():
        sys.exit(reason)
    photograph(options.notebook, options.picture, run=not options.as_saved)


def photograph(notebook: Path, picture: Path, *, run: bool = True) -> None:
    """Save a picture of the whole notebook, after running all its cells or as it was saved."""
    with TemporaryDirectory() as scratch:
        folder, state = Path(scratch, "notebooks"), Path(scratch, "jupyter")
        folder.mkdir()
        state.mkdir()
        shutil.copy(notebook, folder)
        with (
            jupyter_lab(folder, state) as lab,
            chromium() as browser,
            opened(browser, lab, notebook.name) as shown,
        ):
            if run:
                shown.run_all_cells()
            _photograph_in_full_length(shown.page, picture)
            print("\n".join([*shown.errors_in_outputs(), *shown.complaints, f"saved {picture}"]))


def _photograph_in_full_length(page: Page, picture: Path) -> None:
    page.wait_for_timeout(SETTLE_MS)
    page.set_viewport_size({"width": VIEWPORT["width"], "height": page.evaluate(LENGTH) + ROOM_FOR_TOOLBARS_PX})
    page.evaluate(TO_THE_TOP)
    page.wait_for_timeout(SETTLE_MS)
    page.locator(".jp-NotebookPanel").first.screenshot(path=picture)


if __name__ == "__main__":
    main(sys.argv[1:])
