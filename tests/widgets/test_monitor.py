from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.events import OperatorEvent
from causalkit.operators.listening import EventCollector
from causalkit.operators.monitor import OperatorMonitor
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import trace
from causalkit.widgets.monitor import MonitorView

AT_ONCE, NEVER = 0.01, 3600


@trace(operator_type="ensemble", stage="ensemble_1")
def panel(votes: list[int]) -> list[int]:
    return votes


@trace(stage="judge_1")
def judge(votes: list[int]) -> int:
    emit_metric("correct", votes[0] == 3)
    return votes[0]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def finish(stage: str | None, ms: float) -> None:
    EventCollector.emit(OperatorEvent("x", "x", "result", "1", datetime(2026, 1, 2, tzinfo=UTC), stage, None, ms))


def test_the_view_changes_while_a_pipeline_runs_in_a_thread() -> None:
    seen, monitor = threading.Event(), OperatorMonitor()

    def pipeline() -> None:
        panel([3, 5])
        seen.wait(20)
        judge(panel([3, 3]))

    view = MonitorView(monitor, refresh_s=AT_ONCE)
    with monitor:
        thread = threading.Thread(target=pipeline)
        thread.start()
        wait_until(lambda: "Disagreement of ensembles is 1.00." in view.text)
        assert view.switch.description == "Stop"
        assert view.text.startswith("Running: 1 calls so far, 0 of them open.")
        seen.set()
        thread.join()
    assert view.text.startswith(
        "Not running: 3 calls so far, 0 of them open. Of the last 100 at most, 0 % failed. "
        "Disagreement of ensembles is 0.50. Accuracy: judge_1 1.00. Half of the calls took up to "
    )
    assert view.switch.description == "Start"


def test_at_the_end_it_shows_all_that_was_heard_however_rarely_it_is_refreshed() -> None:
    with OperatorMonitor() as monitor:
        view = MonitorView(monitor, refresh_s=NEVER)
        panel([3, 5])
        assert "Running: 0 calls" in view.text
    assert "Not running: 1 calls" in view.text
    reading, table = view.reading.value, view.table.value
    view.refresh()
    assert (view.reading.value, view.table.value) == (reading, table)


def test_the_button_starts_and_stops_the_monitor() -> None:
    monitor = OperatorMonitor()
    view = MonitorView(monitor, refresh_s=NEVER)
    for running, description in ((True, "Stop"), (False, "Start"), (True, "Stop"), (False, "Start")):
        view.switch.click()
        assert monitor.running is running
        assert view.switch.description == description
        panel([3])
    assert "Not running: 2 calls" in view.text


def test_a_closed_view_leaves_no_thread_and_the_monitor_goes_on() -> None:
    with OperatorMonitor() as monitor:
        view = MonitorView(monitor, refresh_s=NEVER)
        assert threading.active_count() > 1
        view.close()
        view.close()
        assert monitor.running
        assert monitor.switches == []
        panel([3])
    assert monitor.get_rolling_stats()["num_calls"] == 1
    assert "Running: 0 calls" in view.text


def test_a_callback_in_the_pipeline_may_stop_what_is_shown() -> None:
    monitor = OperatorMonitor()
    view = MonitorView(monitor, refresh_s=AT_ONCE)
    monitor.alert("num_calls", above=1, callback=lambda crossing: monitor.stop())
    with monitor:
        assert [panel([number]) for number in range(3)] == [[0], [1], [2]]
    assert "Not running: 2 calls" in view.text


def test_screen_readers_are_told_of_the_end_and_get_tables_with_headings() -> None:
    with OperatorMonitor() as monitor:
        view = MonitorView(monitor, refresh_s=NEVER)
        panel([3])
        assert "role='status'" not in view.reading.value
    assert view.reading.value == f"<p role='status'>{view.text}</p>"
    assert view.table.value.count("<caption") == 2
    assert "<th scope='col'" in view.table.value
    assert "<th scope='row'" in view.table.value
    assert view.table.value.count("<span ") == view.table.value.count("<span aria-hidden='true'") > 0


def test_bars_are_as_long_as_what_they_show() -> None:
    with OperatorMonitor() as monitor:
        view = MonitorView(monitor, refresh_s=NEVER)
        finish("quick", 5.0)
        finish("slow", 20.0)
    bars = re.findall(r"#0072b2 (\d+)%,#7f7f7f33 \1%\);margin-right:.4em'></span>(.+?)<", view.table.value)
    assert bars == [("25", "5.00"), ("100", "20.00")]


def test_names_from_traces_are_escaped() -> None:
    with OperatorMonitor() as monitor:
        view = MonitorView(monitor, refresh_s=NEVER)
        for stage in ("<script>x</script>", '"><b>', None):
            with_metric = OperatorEvent(
                "x", "x", "metric", "1", datetime(2026, 1, 2, tzinfo=UTC), stage, data={"name": "correct", "value": 1}
            )
            EventCollector.emit(with_metric)
            finish(stage, 1.0)
    for shown in (view.reading.value, view.table.value):
        assert "<script" not in shown
        assert "<b>" not in shown
        assert "&lt;script&gt;x" in shown
        assert "(no stage)" in shown


def test_of_many_stages_the_first_are_shown_and_the_others_counted() -> None:
    with OperatorMonitor() as monitor:
        view = MonitorView(monitor, refresh_s=NEVER)
        for number in range(40):
            finish(f"stage {number:02}", 1.0)
    assert "stage 29<" in view.table.value
    assert "stage 30<" not in view.table.value
    assert "By stage, 10 more are not shown" in view.table.value


def test_a_refresh_that_fails_is_reported_once_and_the_pipeline_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = OperatorMonitor()
    view = MonitorView(monitor, refresh_s=AT_ONCE)
    with monkeypatch.context() as patch, monitor:
        patch.setattr("causalkit.widgets.monitor._words", lambda *told: 1 / 0)
        wait_until(lambda: bool(caplog.records))
        assert panel([3]) == [3]
        patch.undo()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "Not running: 1 calls" in view.text


def test_the_repr_is_short_and_stable() -> None:
    assert (
        repr(MonitorView(OperatorMonitor())) == "<MonitorView of <OperatorMonitor not running, window of 100: 0 calls>>"
    )


@pytest.mark.parametrize("wrong", [{"refresh_s": 0}, {"refresh_s": float("nan")}, {"refresh_s": "1"}, {"monitor": 3}])
def test_a_view_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CausalkitError):
        MonitorView(**{"monitor": OperatorMonitor(), **wrong})
