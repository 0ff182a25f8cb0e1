from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CellsOpener
from tests.browser.lab import KERNEL_IS_IDLE

pytestmark = pytest.mark.browser

EDITOR = """
import networkx as nx
from causalkit.widgets import DagEditor

editor = DagEditor(nx.DiGraph([("depth", "latency"), ("latency", "quality")]))
editor
"""
READING, PICTURE = ".causalkit-reading", ".causalkit-picture"
SHOWN = "([selector, said]) => document.querySelector(selector).innerText.includes(said)"
DRAWN = "selector => document.querySelector(selector).complete && document.querySelector(selector).naturalHeight > 0"


def test_edges_are_added_reversed_and_taken_back_and_a_cycle_is_refused(
    open_cells: CellsOpener, tmp_path: Path
) -> None:
    notebook = open_cells(EDITOR)
    notebook.run_all_cells()
    page = notebook.page

    def press(name: str, cause: str, effect: str, said: str) -> None:
        page.get_by_label("cause").select_option(cause)
        page.get_by_label("effect").select_option(effect)
        click(name, said)

    def click(name: str, said: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_function(SHOWN, arg=[READING, said])
        # While a picture is exchanged the buttons may move.
        page.wait_for_function(KERNEL_IS_IDLE)
        page.wait_for_function(DRAWN, arg=PICTURE)

    def assert_edges(*rows: str) -> None:
        expect(page.locator("table", has_text="Edges").locator("tbody tr")).to_have_text(rows, use_inner_text=True)

    assert_edges("depth latency", "latency quality")
    at_first = page.locator(PICTURE).get_attribute("src")
    assert at_first
    press("Add", "quality", "depth", "Not done")
    assert "cycle" in page.locator(READING).inner_text()
    assert_edges("depth latency", "latency quality")
    press("Add", "depth", "quality", "Added: depth causes quality.")
    press("Reverse", "latency", "quality", "Reversed: quality causes latency.")
    assert_edges("depth latency", "depth quality added by the user", "quality latency reversed by the user")
    expect(page.locator(PICTURE)).not_to_have_attribute("src", at_first)
    page.locator(".jp-OutputArea").first.screenshot(path=tmp_path / "editor.png")
    click("Undo", "taken back")
    press("Remove", "depth", "latency", "Removed: depth does not cause latency.")
    assert_edges("depth quality added by the user", "latency quality")
    assert notebook.errors_in_outputs() == []
    assert notebook.complaints == []
