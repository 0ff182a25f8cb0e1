"""What operators do while they run: statistics, bars for each stage, and the reading in words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from causalkit.errors import CausalkitError
from causalkit.operators.monitor import OperatorMonitor
from causalkit.wording import number, one_line

_log = logging.getLogger("causalkit.widgets")
_MOST_ROWS = 30
# Columns must not move each time a number gets longer or shorter.
_CELL = "text-align:left;min-width:8em;padding-right:1.5em;font-variant-numeric:tabular-nums"
_ROWS = (
    ("calls that began", "num_calls"),
    ("open calls", "open_calls"),
    ("calls a second", "throughput_per_s"),
    ("runs a second", "runs_per_s"),
    ("error rate", "error_rate"),
    ("disagreement", "disagreement_rate"),
    ("latency, median (ms)", "latency_p50_ms"),
    ("latency, p95 (ms)", "latency_p95_ms"),
)


class MonitorView(widgets.VBox):  # type: ignore[misc] # ipywidgets has no types
    """See the rolling statistics of operators while a pipeline runs in a thread.

    It is brought up to date while the monitor runs, and once more when it has stopped.

    Parameters
    ----------
    monitor : OperatorMonitor
    refresh_s : float, default 0.5
        Seconds from one time to the next.

    Attributes
    ----------
    switch : ipywidgets.Button
        Starts and stops the monitor.
    reading : ipywidgets.HTML
        The statistics in words.
    table : ipywidgets.HTML
        All of them, with bars for each stage.

    Raises
    ------
    CausalkitError
        If it is given no monitor, or no time above 0.
    """

    # A widget is closed when it is disposed of, also where it was refused.
    _watching = False

    def __init__(self, monitor: OperatorMonitor, *, refresh_s: float = 0.5) -> None:
        if not isinstance(monitor, OperatorMonitor):
            raise CausalkitError(f"a {type(monitor).__name__} is no monitor; give an OperatorMonitor", given=monitor)
        if not isinstance(refresh_s, int | float) or not 0 < refresh_s <= threading.TIMEOUT_MAX:
            raise CausalkitError(f"refresh_s is {refresh_s!r}; give seconds, more than 0", refresh_s=refresh_s)
        self.monitor, self.refresh_s = monitor, refresh_s
        self._text, self._ended = "", threading.Event()
        self._refresher: threading.Thread | None = None
        self.switch, self.reading, self.table = widgets.Button(), widgets.HTML(), widgets.HTML()
        self.reading.add_class("causalkit-reading")
        self.switch.on_click(lambda _: monitor.stop() if monitor.running else monitor.start())
        super().__init__([self.switch, self.reading, self.table])
        monitor.switches.append(self._switched)
        self._watching = True
        self._switched(monitor.running)

    def __repr__(self) -> str:
        return f"<MonitorView of {self.monitor!r}>"

    @property
    def text(self) -> str:
        """The reading as it is shown."""
        return self._text

    def refresh(self) -> None:
        """Show what the statistics are now."""
        stats, running = self.monitor.get_rolling_stats(), self.monitor.running
        self._text = _words(stats, self.monitor.window_size, running)
        # A screen reader is told of the end and not of every step on the way.
        role = "" if running else " role='status'"
        self.reading.value = f"<p{role}>{escape(self._text)}</p>"
        self.table.value = _overall(stats) + _stages(stats)
        self.switch.description = "Stop" if running else "Start"

    def close(self) -> None:
        """Take the view away; the monitor goes on."""
        if self._watching:
            self._watching = False
            self.monitor.switches.remove(self._switched)
            self._end()
        super().close()

    def _switched(self, on: bool) -> None:
        self._end()
        if on:
            self._ended = threading.Event()
            self._refresher = threading.Thread(target=self._keep_fresh, args=(self._ended,), daemon=True)
            self._refresher.start()
        self.refresh()

    def _end(self) -> None:
        self._ended.set()
        if self._refresher is not None and self._refresher is not threading.current_thread():
            self._refresher.join()
        self._refresher = None

    def _keep_fresh(self, ended: threading.Event) -> None:
        # Whose interpreter is about to end has nobody left to show anything to.
        while not ended.wait(self.refresh_s) and threading.main_thread().is_alive():
            try:
                self.refresh()
            except Exception as error:
                _log.error("a view of operators is no longer refreshed: %s", one_line(repr(error), 200), exc_info=error)
                return


def _words(stats: dict[str, Any], window_size: int, running: bool) -> str:
    state = "Running" if running else "Not running"
    said = [f"{state}: {stats['num_calls']} calls so far, {stats['open_calls']} of them open."]
    if stats["error_rate"] is not None:
        said.append(f"Of the last {window_size} at most, {100 * stats['error_rate']:.0f} % failed.")
    if stats["disagreement_rate"] is not None:
        said.append(f"Disagreement of ensembles is {number(stats['disagreement_rate'])}.")
    accuracy = stats["accuracy_by_stage"].items()
    if accuracy:
        said.append(f"Accuracy: {', '.join(f'{_name(stage)} {number(value)}' for stage, value in accuracy)}.")
    if stats["latency_p50_ms"] is not None:
        half, most = number(stats["latency_p50_ms"]), number(stats["latency_p95_ms"])
        said.append(f"Half of the calls took up to {half} ms, 95 % up to {most} ms.")
    return " ".join(said)


def _overall(stats: dict[str, Any]) -> str:
    rows = [[label, escape(_said(stats[name]))] for label, name in _ROWS]
    return _table("All operators", ("statistic", "value"), rows)


def _stages(stats: dict[str, Any]) -> str:
    accuracy, latency = stats["accuracy_by_stage"], stats["latency_by_stage"]
    slowest = max((value["p95_ms"] for value in latency.values()), default=0.0) or 1.0
    stages = list(dict.fromkeys([*latency, *accuracy]))
    rows = []
    for stage in stages[:_MOST_ROWS]:
        p50, p95 = (latency.get(stage, {}).get(name) for name in ("p50_ms", "p95_ms"))
        right = accuracy.get(stage)
        cells = [_bar(right, 1.0), escape(_said(p50)), _bar(p95, slowest)]
        rows.append([escape(_name(stage)), *cells])
    if not rows:
        return ""
    more = f", {len(stages) - len(rows)} more are not shown" if len(stages) > len(rows) else ""
    return _table(f"By stage{more}", ("stage", "accuracy", "median (ms)", "p95 (ms)"), rows)


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th scope='col' style='{_CELL}'>{title}</th>" for title in head)
    body = "".join(
        f"<tr><th scope='row' style='{_CELL};font-weight:normal'>{name}</th>"
        + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    caption = f"<caption style='text-align:left;padding-top:.8em'>{escape(caption)}</caption>"
    return f"<table>{caption}<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _bar(value: float | None, most: float) -> str:
    if value is None:
        return _said(value)
    filled = f"{100 * min(max(value / most, 0.0), 1.0):.0f}%"
    track = f"linear-gradient(90deg,#0072b2 {filled},#7f7f7f33 {filled})"
    look = f"display:inline-block;height:.7em;width:6em;background:{track};margin-right:.4em"
    return f"<span aria-hidden='true' style='{look}'></span>{escape(_said(value))}"


def _said(value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001 # a dash for what is not known
    return str(value) if isinstance(value, int) else number(value)


def _name(stage: str | None) -> str:
    return "(no stage)" if stage is None else one_line(stage, 60)
