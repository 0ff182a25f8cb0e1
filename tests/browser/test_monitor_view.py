from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.conftest import CellsOpener

pytestmark = pytest.mark.browser

OPERATORS = """
import threading
from causalkit import OperatorMonitor, emit_metric, trace
from causalkit.widgets import MonitorView

ended = threading.Event()

@trace(operator_type="ensemble", stage="ensemble_1")
def panel(number):
    ended.wait(0.01)
    return [3, 3, 5 if number % 3 else 3]

@trace(operator_type="judge", stage="judge_1")
def judge(votes):
    emit_metric("correct", votes[2] == 3)
    return votes[0]

@trace(stage="search")
def search(number):
    if number % 10 == 9:
        raise LookupError(number)

def pipeline():
    number = 0
    while not ended.is_set():
        number += 1
        judge(panel(number))
        try:
            search(number)
        except LookupError:
            pass

monitor = OperatorMonitor()
MonitorView(monitor, refresh_s=0.1)
"""
RUN_IN_A_THREAD = "thread = threading.Thread(target=pipeline, daemon=True); monitor.start(); thread.start()"
CHANGED = "([selector, before]) => document.querySelector(selector).innerHTML !== before"
READING, TABLE = ".causalkit-reading", ".widget-html:has(table)"


def test_numbers_and_bars_change_while_a_pipeline_runs_until_the_button_stops_them(
    open_cells: CellsOpener, tmp_path: Path
) -> None:
    notebook = open_cells(OPERATORS, RUN_IN_A_THREAD)
    notebook.run_all_cells()
    page, (reading, table) = notebook.page, (notebook.page.locator(part) for part in (READING, TABLE))
    button = page.get_by_role("button", name="Stop", exact=True)
    page.locator("th", has_text="judge_1").wait_for()
    for _ in range(3):
        for part, shown in ((READING, reading), (TABLE, table)):
            page.wait_for_function(CHANGED, arg=[part, shown.inner_html()])
    assert reading.inner_text().startswith("Running: ")
    assert page.locator("th[scope=row]", has_text=re.compile("^(ensemble_1|judge_1|search)$")).count() == 3
    page.locator(".jp-OutputArea").first.screenshot(path=tmp_path / "live.png")

    button.click()
    page.get_by_role("button", name="Start", exact=True).wait_for()
    at_the_end = reading.inner_text(), table.inner_text()
    page.wait_for_timeout(500)
    assert (reading.inner_text(), table.inner_text()) == at_the_end
    assert at_the_end[0].startswith("Not running: ")
    assert page.locator(".jp-OutputArea-output").count() == 1, "something stands beside the view"
    assert notebook.errors_in_outputs() == []
    assert notebook.complaints == []
