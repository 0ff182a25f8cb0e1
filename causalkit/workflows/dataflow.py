"""Which knob can have influenced which step: read off the state keys that each step read and wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from causalkit.workflows.executor import READS, WRITES
from causalkit.workflows.records import StepTrace, WorkflowTrace


class Influence(NamedTuple):
    """How a knob can reach a step, and the reason in words."""

    kind: str
    why: str


def knob_influences(traces: Iterable[WorkflowTrace], knobs: Iterable[str]) -> dict[str, dict[str, Influence]]:
    """Return for each step the knobs that can have influenced it, over all runs.

    A knob can influence a step that read it, and a step that read what such a step wrote, however many steps lie
    between. A step without a record of what it read may depend on every knob. What the runs rule out is left out;
    nothing is ruled out by a small correlation.

    Parameters
    ----------
    traces : iterable of WorkflowTrace
        The runs.
    knobs : iterable of str
        Names of the knobs, which are state keys.

    Returns
    -------
    dict of str to dict of str to Influence
        Step name -> knob -> how.

    Examples
    --------
    >>> from causalkit.workflows.executor import GraphExecutor
    >>> from causalkit.workflows.tracer import Tracer
    >>> def search(state, runtime):
    ...     return {"hits": state["depth"]}
    >>> def rank(state, runtime):
    ...     return {"ranked": state["hits"]}
    >>> tracer = Tracer()
    >>> _ = GraphExecutor({"qa": [search, rank]}, tracer).execute("qa", {}, knobs={"depth": 2})
    >>> knob_influences(tracer.runs, ["depth"])["rank"]
    {'depth': Influence(kind='dataflow', why="read 'hits', written by 'search'")}
    """
    known = list(knobs)
    found: dict[str, dict[str, Influence]] = defaultdict(dict)
    # Thousands of runs follow a handful of paths; each path is looked at once.
    for path in dict.fromkeys(tuple(map(_signature, run.steps)) for run in traces):
        for step_name, influences in _along(path, known):
            for knob, influence in influences.items():
                if influence.kind == "direct" or knob not in found[step_name]:
                    found[step_name][knob] = influence
    return found


_Signature = tuple[str, tuple[str, ...] | None, tuple[str, ...]]


def _signature(step: StepTrace) -> _Signature:
    reads = step.attributes.get(READS)
    return step.step_name, None if reads is None else tuple(reads), tuple(step.attributes.get(WRITES, ()))


def _along(path: tuple[_Signature, ...], knobs: list[str]) -> Iterable[tuple[str, Mapping[str, Influence]]]:
    # For each state key: the knobs behind its value, and the step that wrote it.
    behind: dict[str, set[str]] = defaultdict(set)
    writer: dict[str, str] = {}
    for step_name, reads, writes in path:
        influences = _unrecorded(knobs) if reads is None else _recorded(reads, knobs, behind, writer)
        yield step_name, influences
        for key in writes:
            behind[key] = set(influences) | (behind[key] if key in (reads or ()) else set())
            writer[key] = step_name


def _unrecorded(knobs: list[str]) -> dict[str, Influence]:
    return {knob: Influence("unrecorded", "not ruled out: the step did not record what it read") for knob in knobs}


def _recorded(
    reads: Iterable[str], knobs: list[str], behind: Mapping[str, set[str]], writer: Mapping[str, str]
) -> dict[str, Influence]:
    influences: dict[str, Influence] = {}
    for key in reads:
        for knob in sorted(behind.get(key, ())):
            influences.setdefault(knob, Influence("dataflow", f"read {key!r}, written by {writer[key]!r}"))
    for knob in knobs:
        if knob in reads and knob not in writer:
            influences[knob] = Influence("direct", f"the step read {knob!r}")
    return influences
