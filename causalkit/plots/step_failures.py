"""Which steps fail, and of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from causalkit.plots.style import GREY, SKY, VERMILION, axes_to_draw_on, strip_spines
from causalkit.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.workflows.traces import Traces

_MOST_CAUSES, _MOST_CHARACTERS = 10, 40


def plot_step_failures(traces: Traces, *, ax: Axes | None = None) -> Axes:
    """Draw how often steps failed, by step and error type, the most frequent first.

    Parameters
    ----------
    traces : Traces
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Ten causes and the others together; the words "no step failed" where none did.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from causalkit.workflows.records import StepTrace, WorkflowTrace
    >>> from causalkit.workflows.traces import load_traces
    >>> told = {"start": datetime(2026, 1, 2, tzinfo=UTC), "success": False, "latency_ms": 1.0}
    >>> step = StepTrace(step_id="1", step_name="search", error={"type": "KeyError", "message": "'x'"}, **told)
    >>> traces = load_traces([WorkflowTrace(request_id="a", success=False, steps=(step,))])
    >>> plot_step_failures(traces).get_title()
    'What failed: 1 step in 1 run'
    """
    causes = traces.failure_causes()
    shown, others = causes.head(_MOST_CAUSES), causes.iloc[_MOST_CAUSES:]
    bars = [
        (_label(row), row["n"], _share(row["runs"], len(traces)), VERMILION, "") for row in shown.to_dict("records")
    ]
    if len(others):
        # One run may have failed of several of them.
        share = f"at most {_share(min(others['runs'].sum(), len(traces)), len(traces))}"
        bars.append((f"others ({_counted(len(others), 'cause')})", others["n"].sum(), share, SKY, "//"))
    ax = axes_to_draw_on(ax, width=9.0, height=1.4 + 0.45 * max(len(bars), 1))
    for place, (_, count, runs, colour, hatch) in enumerate(bars):
        ax.barh(place, count, height=0.6, color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.8)
        ax.annotate(
            f"{count} ({runs})", (count, place), (4, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    ax.set_yticks(range(len(bars)), [bar[0] for bar in bars], fontsize=8, parse_math=False)
    ax.set_ylim(max(len(bars), 1) - 0.4, -0.6)
    ax.margins(x=0.3)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    if not bars:
        ax.annotate("no step failed", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
        ax.set_xticks([])
    ax.set_xlabel("number of failed steps (share of runs in which it happened)")
    ax.set_title(f"What failed: {_counted(int(causes['n'].sum()), 'step')} in {_counted(len(traces), 'run')}")
    strip_spines(ax)
    return ax


def _label(cause: dict[Any, Any]) -> str:
    kind = "no error recorded" if pd.isna(cause["error_type"]) else one_line(cause["error_type"], _MOST_CHARACTERS)
    name = f"{one_line(cause['step_name'], _MOST_CHARACTERS)}: {kind}"
    return name if pd.isna(cause["example"]) else f"{name}\n“{one_line(cause['example'], _MOST_CHARACTERS)}”"


def _share(runs: float, of: int) -> str:
    return f"{100 * runs / of:.1f} % of runs"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
