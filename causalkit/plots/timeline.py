"""One run as a waterfall: which step ran when, in which other, and which ones the run waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.artist import Artist
from matplotlib.patches import Patch

from causalkit.plots.style import BLACK, GREY, SKY, VERMILION, axes_to_draw_on, strip_spines
from causalkit.wording import number, one_line
from causalkit.workflows.step_times import critical_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.workflows.records import StepTrace, WorkflowTrace

_MOST_STEPS, _MOST_CHARACTERS, _MOST_LEVELS = 60, 32, 8
_ROOM_FOR_TEXT = 0.35
_FINE, _FAILED = (SKY, ""), (VERMILION, "///")
_BOLD: dict[str, Any] = {"edgecolor": BLACK, "linewidth": 2.5}
_THIN: dict[str, Any] = {"edgecolor": BLACK, "linewidth": 0.5}


def plot_timeline(run: WorkflowTrace, *, ax: Axes | None = None) -> Axes:
    """Draw one bar for each step of a run, in the order in which they began.

    Parameters
    ----------
    run : WorkflowTrace
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Names are indented by nesting; failed steps are hatched and name their error, steps that the run waited for
        have a bold outline. Of more than 60 steps the longest 60.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from causalkit.workflows.records import StepTrace, WorkflowTrace
    >>> began = datetime(2026, 1, 2, tzinfo=UTC)
    >>> step = StepTrace(step_id="1", step_name="search", start=began, latency_ms=5.0, success=True)
    >>> run = WorkflowTrace(
    ...     request_id="a", workflow_name="qa", success=True, timestamp=began, total_latency_ms=6.0, steps=(step,)
    ... )
    >>> plot_timeline(run).get_title()
    'qa a: 1 step, 6.00 ms'
    """
    shown, note = _in_order(run)
    ax = axes_to_draw_on(ax, width=9.0, height=1.4 + 0.28 * max(len(shown), 1))
    zero = run.timestamp or min((step.start for step in shown), default=None)
    on_path = critical_path(run)
    for place, step in enumerate(shown):
        begun = (step.start - zero).total_seconds() * 1e3 if zero else 0.0
        _draw_step(ax, place, step, begun, bold=step.step_id in on_path)
    if run.total_latency_ms is not None:
        ax.axvline(run.total_latency_ms, color=GREY, linestyle=":", linewidth=1, label="end of the run")
    if not shown:
        ax.annotate("no step was recorded", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_yticks(range(len(shown)), _labels(run, shown), family="monospace", fontsize=8, parse_math=False)
    ax.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    ax.set_xlim(left=min(0.0, ax.dataLim.x0))
    if not all(step.success for step in shown):
        ax.set_xlim(right=ax.get_xlim()[1] * (1 + _ROOM_FOR_TEXT))
    ax.set_xlabel(f"milliseconds since the run began{note}")
    ax.set_title(_title(run), fontsize=10, parse_math=False)
    _legend(ax, shown, on_path)
    strip_spines(ax)
    return ax


def _in_order(run: WorkflowTrace) -> tuple[list[StepTrace], str]:
    """Return the steps to draw, and words about the others."""
    longest = sorted(run.steps, key=lambda step: -step.latency_ms)
    shown, others = longest[:_MOST_STEPS], longest[_MOST_STEPS:]
    levels = _levels(run, shown)
    shown.sort(key=lambda step: (step.start, levels[step.step_id]))
    failed = sum(not step.success for step in others)
    failed_too = f" ({failed} of them failed)" if failed else ""
    plural = "s" * (len(others) > 1)
    return shown, f"\nand {len(others)} shorter one{plural}{failed_too}" if others else ""


def _levels(run: WorkflowTrace, steps: Iterable[StepTrace]) -> dict[str, int]:
    """Return in how many others each of these steps ran."""
    parents = {step.step_id: step.parent_id for step in run.steps}
    levels = {}
    for step in steps:
        above: set[str] = set()
        parent = step.parent_id
        # Damaged records may have a step run in itself.
        while parent in parents and parent not in above:
            above.add(parent)
            parent = parents[parent]
        levels[step.step_id] = len(above)
    return levels


def _labels(run: WorkflowTrace, steps: list[StepTrace]) -> list[str]:
    levels = _levels(run, steps)
    indented = ["  " * min(levels[step.step_id], _MOST_LEVELS) for step in steps]
    names = [space + one_line(step.step_name, _MOST_CHARACTERS) for space, step in zip(indented, steps, strict=True)]
    # Labels end at the axis: equally wide ones also begin at one place, so indents show.
    width = max(map(len, names), default=0)
    return [f"{name:<{width}} {number(step.latency_ms):>9} ms" for name, step in zip(names, steps, strict=True)]


def _draw_step(ax: Axes, place: int, step: StepTrace, begun: float, *, bold: bool) -> None:
    colour, hatch = _FINE if step.success else _FAILED
    ax.barh(place, step.latency_ms, left=begun, height=0.6, color=colour, hatch=hatch, **(_BOLD if bold else _THIN))
    if not step.success:
        kind = (step.error or {}).get("type") or "failed"
        ax.annotate(
            f"✗ {one_line(kind, _MOST_CHARACTERS)}", (begun + step.latency_ms, place), (6, 0),
            textcoords="offset points", va="center", fontsize=8, parse_math=False,
        )  # fmt: skip


def _title(run: WorkflowTrace) -> str:
    name = f"{one_line(run.workflow_name or 'run', _MOST_CHARACTERS)} {one_line(run.request_id, _MOST_CHARACTERS)}"
    facts = [f"{len(run.steps)} step{'s' * (len(run.steps) != 1)}"]
    if run.total_latency_ms is not None:
        facts.append(f"{number(run.total_latency_ms)} ms")
    if run.crashed:
        facts.append("crashed before it ended")
    elif not run.success:
        kind = (run.error or {}).get("type")
        facts.append(f"failed with {one_line(kind, _MOST_CHARACTERS)}" if kind else "failed")
    return f"{name}: {', '.join(facts)}"


def _legend(ax: Axes, steps: list[StepTrace], on_path: Mapping[str | None, float]) -> None:
    handles: list[Artist] = [*ax.lines]
    if not all(step.success for step in steps):
        handles.append(Patch(facecolor=_FAILED[0], hatch=_FAILED[1], label="failed", **_THIN))
    if any(step.step_id in on_path for step in steps):
        handles.append(Patch(facecolor="white", label="the run waited for it\n(critical path)", **_BOLD))
    if handles:
        ax.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
