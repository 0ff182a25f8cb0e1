"""Recorded runs at a glance, as HTML; whatever stands in a trace is escaped."""

from __future__ import annotations

from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causalkit.workflows.traces import Traces

_ROWS_SHOWN = 12
_NOTES_SHOWN = 3
_LONGEST = 120


def overview_html(traces: Traces) -> str:
    """Return the workflows with their numbers, the commonest failures, and what an answer has to say about them."""
    head = ("workflow", "runs", "failed", "median ms", "p95 ms")
    latency: Any = traces.aggregate_latency_stats(by="workflow_name")
    most = sorted(traces._counted, key=lambda name: -traces._counted[name][0])[:_ROWS_SHOWN]
    rows = [(name or "?", *traces._counted[name], *latency.loc[name, ["median", "p95"]].round(1)) for name in most]
    causes = traces.failure_causes().head(_NOTES_SHOWN).itertuples()
    notes = [f"{cause.n} x {cause.step_name}: {cause.error_type}: {cause.example}" for cause in causes]
    notes += [f"{len(traces.damage)} stretches of bytes hold no record; see .damage"] if traces.damage else []
    notes += traces.caveats[:_NOTES_SHOWN]
    items = "".join(f"<li>{_short(note)}</li>" for note in notes)
    table = _row("th", head) + "".join(_row("td", row) for row in rows)
    return f"<p>{_short(repr(traces))}</p><table>{table}</table><ul>{items}</ul>"


def _row(tag: str, cells: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_short(cell)}</{tag}>' for cell in cells)}</tr>"


def _short(text: object) -> str:
    return escape(shorten(str(text), _LONGEST))
