"""Which knob can have influenced which step, and whose output was whose input: read off what each step recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from causalkit.workflows.executor import READS, WRITES
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.trace_columns import INPUT, OUTPUT

_ENOUGH_BITS = 24
# Of each output the longest texts, and of each text its beginning.
_MOST_TEXTS, _LONGEST = 8, 20_000


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


def step_flows(traces: Iterable[WorkflowTrace]) -> set[tuple[str, str]]:
    """Return which step's input held what an earlier step had put out, over all runs.

    Read are ``causalkit.input`` and ``causalkit.output`` of the steps. An output, or a text inside it, counts if it has
    at least 24 different pairs of letters (Shannon 1951: about a bit each; one in 16 million others would equal it by
    chance), was in no input that the run had had before, and no other step had put it out before.

    Parameters
    ----------
    traces : iterable of WorkflowTrace
        The runs; one of them is enough to prove a flow.

    Returns
    -------
    set of (str, str)
        Names of steps: whose output, whose input.

    Examples
    --------
    >>> from causalkit.workflows.tracer import Tracer
    >>> found = "Seen from space the Great Wall is invisible."
    >>> tracer = Tracer()
    >>> with tracer.workflow("qa") as run:
    ...     with run.step("search") as step:
    ...         step.attributes["causalkit.output"] = [found]
    ...     with run.step("answer") as step:
    ...         step.attributes["causalkit.input"] = "Use this: " + found
    >>> step_flows(tracer.runs)
    {('search', 'answer')}
    """
    return {flow for run in traces for flow in _flows(run)}


def _flows(run: WorkflowTrace) -> Iterable[tuple[str, str]]:
    by_end = sorted(run.steps, key=_end)
    inputs = [(step, "\0".join(_texts(step.attributes.get(INPUT)))) for step in run.steps]
    put_out: set[str] = {run.question}
    for maker in by_end:
        made = set(_texts(maker.attributes.get(OUTPUT))) - put_out
        put_out |= made
        special = sorted((text for text in made if len(set(pairwise(text))) >= _ENOUGH_BITS), key=len)[-_MOST_TEXTS:]
        before = "\0".join([run.question, *(text for step, text in inputs if step.start < _end(maker))])
        for text in (text for text in special if text not in before):
            for taker, given in inputs:
                if taker.start >= _end(maker) and text in given:
                    yield maker.step_name, taker.step_name


def _end(step: StepTrace) -> datetime:
    # Instants have microseconds, latencies more: what begins in the same one may have been given the output.
    return step.start + timedelta(microseconds=int(step.latency_ms * 1e3))


def _texts(value: Any) -> list[str]:
    """Return the texts in a value, which may itself be JSON in a text; each no longer than is looked at."""
    found: list[str] = []
    waiting = [value]
    while waiting and len(found) < _MOST_TEXTS**2:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str):
            if value[:1] in ("{", "[", '"'):
                with suppress(msgspec.DecodeError, RecursionError):
                    waiting.append(msgspec.json.decode(value))
            found.append(value[:_LONGEST])
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
