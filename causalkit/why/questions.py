"""Why did it change, why was it bad, what drives it: three questions put to recorded runs, each in one line.

====================================================  ==================  =========================================
Question                                              Name                Answered by
====================================================  ==================  =========================================
Which step's own behaviour changed between releases?  `why_changed`       `FittedSCM.explain_change` (Budhathoki et
                                                                          al. 2021), tests of Kline & Santos (2012)
What made these runs bad?                             `why_bad`           `FittedSCM.root_causes` (Budhathoki et al.
                                                                          2022)
What does a target depend on, and how much?           `what_drives`       `FittedSCM.influence` (Janzing et al.
                                                                          2024), `FittedSCM.effect` (g-formula)
====================================================  ==================  =========================================

Runs become a table and a graph, these a model, and the model is asked. This is the one place that knows traces and
models. Not done: a cause that no run recorded is not found, only warned of (see the caveats of every answer).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import FitError, TraceFormatError
from causalkit.why.asked import Asked, Asking, over_time, runs_named, together, traces_of
from causalkit.why.failures import changed_failures
from causalkit.why.findings import INPUTS, WhatDrives, WhyBad, WhyChanged

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import networkx as nx

    from causalkit.scm.changes import Change
    from causalkit.workflows.records import WorkflowTrace
    from causalkit.workflows.traces import PathLike, Traces

TOTAL = "total_latency_ms"
# Share of alpha that is spent on times and inputs.
_FOR_TIMES = 0.5
# Of that, what is left for steps where inputs are known to have changed.
_WHERE_MIXED = 0.2


def why_changed(
    before: Traces | PathLike,
    after: Traces | PathLike,
    target: str = TOTAL,
    *,
    variables: Sequence[str] | None = None,
    graph: nx.DiGraph[str] | None = None,
    cluster: str | None = "question",
    alpha: float = 0.02,
    random_seed: int | None = None,
    progress: bool = True,
) -> WhyChanged:
    """Ask which step's own behaviour changed between two releases, and how far that moved a target.

    Parameters
    ----------
    before, after : Traces or path
        Runs of one workflow; best recorded side by side in time, or the host's own changes are taken for the release's.
    target : str, default "total_latency_ms"
        A variable of the runs; its mean is explained.
    variables : sequence of str, optional
        What of the steps is looked at, as for `Traces.to_trace_table`; default: own times and whether steps succeed.
    graph : networkx.DiGraph, optional
        Default: what the runs prove, `Traces.causal_graph`.
    cluster : str, default "question"
        Runs with the same are alike: they are resampled, and compared with each other, as one. None: no runs are.
    alpha : float, default 0.02
        Share of pairs of releases that do not differ in which something may be named all the same: half of it for
        times and inputs, half for failures.
    random_seed : int, optional
        Default: fresh.
    progress : bool, default True
        Show a bar where it takes long.

    Returns
    -------
    WhyChanged
        Changes of inputs (knobs, load, length of the question) stand apart, as ``input mix``.

    Raises
    ------
    GraphError
        If the target or the cluster is no variable of the runs.
    InsufficientDataError
        If there are fewer than 40 runs.
    FitError
        If one side has fewer than 20 runs.

    Examples
    --------
    >>> from causalkit.examples.recordings import load_recording
    >>> before = load_recording().filter_by_workflow("search_qa")
    >>> slow = load_recording(part="slow_check").filter_by_workflow("search_qa")
    >>> why_changed(before.filter_by_date_range(end=before[250].timestamp), slow, random_seed=0, progress=False).steps
    ['check_answer']
    """
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha}; give a share between 0 and 1", alpha=alpha)
    both, later = together(traces_of(before), traces_of(after))
    asked = Asking(target, variables, graph, cluster, random_seed, progress).about(both, later, of_all=True)
    sides = asked.table[~asked.chosen], asked.table[asked.chosen]
    change = asked.scm.explain_change(*sides, target, alpha=_FOR_TIMES * alpha)
    mixed = [node for node in change.frame["node"] if asked.about(node)[2] == INPUTS]
    if 0 < len(mixed) < len(change.frame):
        # Mechanisms are approximations: where inputs have moved, a misfit looks like a small change.
        strict = _WHERE_MIXED * _FOR_TIMES * alpha
        change = asked.scm.explain_change(*sides, target, alpha=strict, known=mixed)
    failing = _failing(asked, both, later, change, (1 - _FOR_TIMES) * alpha)
    if set(failing) - set(change.frame["node"]):
        change = asked.scm.explain_change(*sides, target, alpha=_FOR_TIMES * alpha, known=list(failing))
    frame = _changes(asked, change, *sides, {node for node, new in failing.items() if new})
    caveats = [*over_time(both, later), *asked.caveats, *_of_change(asked, change, frame)]
    return WhyChanged(change, frame, asked.doubts, list(dict.fromkeys(caveats)))


def why_bad(
    traces: Traces | PathLike,
    runs: str | Iterable[str] | Callable[[WorkflowTrace], bool] | ir.BooleanValue,
    target: str = TOTAL,
    *,
    variables: Sequence[str] | None = None,
    graph: nx.DiGraph[str] | None = None,
    cluster: str | None = "question",
    alpha: float = 0.05,
    random_seed: int | None = None,
    progress: bool = True,
) -> WhyBad:
    """Ask which steps and inputs made a target what it was in some runs.

    Parameters
    ----------
    traces : Traces or path
    runs : str, iterable of str, callable or Ibis expression
        The bad ones: their request ids, or a condition as for `Traces.custom_filter`. The others are what is usual.
    target, variables, graph, cluster, random_seed, progress
        As for `why_changed`.
    alpha : float, default 0.05
        Share of wholly usual sets of runs in which something may be named all the same.

    Returns
    -------
    WhyBad

    Raises
    ------
    TraceFormatError
        If no such run is among them.
    GraphError, InsufficientDataError
        As for `why_changed`; 40 usual runs are needed.

    Examples
    --------
    >>> from causalkit.examples.recordings import load_recording
    >>> traces = load_recording().filter_by_workflow("search_qa").filter_by_success()
    >>> slowest = max(traces, key=lambda run: run.total_latency_ms).request_id
    >>> why_bad(traces, slowest, random_seed=0, progress=False).causes.num_rows
    1
    """
    known = traces_of(traces)
    asked = Asking(target, variables, graph, cluster, random_seed, progress).about(
        known, runs_named(known, runs), of_all=False
    )
    rows = asked.table[asked.chosen]
    if rows.empty:
        raise TraceFormatError(
            f"none of these runs has a {target}; ask about others, or about another target", runs=runs
        )
    causes = asked.scm.root_causes(rows, target, alpha=alpha, progress=progress)
    usual = asked.table[~asked.chosen]
    told = [
        (
            *asked.about(cause["node"]),
            *_numbers(cause, "contribution", "low", "high"),
            *(_mean(side, cause["node"]) for side in (usual, rows)),
            cause["p_value"],
        )
        for cause in causes.frame.to_dict("records")
    ]
    frame = pd.DataFrame(told, columns=[*_NAMED, "contribution", "low", "high", "usual", "here", "p_value"])
    caveats = [*asked.caveats, *causes.caveats, *_fragile(asked, list(frame["node"]))]
    return WhyBad(causes, frame, asked.doubts, list(dict.fromkeys(caveats)))


def what_drives(
    traces: Traces | PathLike,
    target: str = TOTAL,
    *,
    variables: Sequence[str] | None = None,
    graph: nx.DiGraph[str] | None = None,
    cluster: str | None = "question",
    random_seed: int | None = None,
    progress: bool = True,
) -> WhatDrives:
    """Ask how much of a target's variance each input and each step makes by itself, and what inputs do to its mean.

    Parameters
    ----------
    traces, target, variables, graph, cluster, random_seed, progress
        As for `why_changed`.

    Returns
    -------
    WhatDrives

    Raises
    ------
    GraphError, InsufficientDataError
        As for `why_changed`.

    Examples
    --------
    >>> from causalkit.examples.recordings import load_recording
    >>> traces = load_recording().filter_by_workflow("search_qa").filter_by_success()
    >>> found = what_drives(traces.filter_by_date_range(end=traces[200].timestamp), random_seed=0, progress=False)
    >>> "rerank_depth" in set(found.frame["node"][:3])
    True
    """
    asked = Asking(target, variables, graph, cluster, random_seed, progress).about(traces_of(traces), (), of_all=True)
    influence = asked.scm.influence(target)
    rows, caveats = [], [*asked.caveats, *influence.caveats]
    total = float(influence.frame["influence"].sum()) or 1.0
    for part in influence.frame.to_dict("records"):
        shares = (part["share"], part["low"] / total, part["high"] / total)
        effect, more = _effect_of(asked, part["node"])
        rows.append((*asked.about(part["node"]), *shares, *effect))
        caveats += more
    columns = ["contrast", "effect", "effect_low", "effect_high", "experimental", "robustness"]
    frame = pd.DataFrame(rows, columns=[*_NAMED, "share", "low", "high", *columns])
    return WhatDrives(target, frame, asked.doubts, list(dict.fromkeys(caveats)))


_NAMED = ["node", "step", "what"]


def _failing(asked: Asked, both: Traces, later: Collection[str], change: Change, alpha: float) -> dict[str, bool]:
    """Return the nodes of steps that fail otherwise than before, and whether as they never did before."""
    scm, runs = asked.scm, asked.table.index
    # Other inputs may fail more often though no step is another.
    if any(asked.about(node)[2] == INPUTS for node in change.frame["node"]):
        return {}
    clusters = asked.table[scm.groups] if scm.groups else pd.Series(runs, runs)
    prefixes = {name: prefix for prefix, name in asked.table.attrs.get("step_names", {}).items()}
    found = changed_failures(both, clusters, set(later), alpha)
    nodes = {f"{prefixes.get(step, step)}_success": new for step, (p_value, new) in found.items() if p_value <= alpha}
    return {node: new for node, new in nodes.items() if node in scm.upstream(asked.target)}


def _numbers(row: dict[Any, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def _mean(rows: pd.DataFrame, node: str) -> float:
    if node not in rows:
        return float("nan")
    numbers = pd.to_numeric(
        rows[node].dropna().map(lambda value: float(value) if isinstance(value, bool) else value), errors="coerce"
    )
    return float(numbers.mean())


def _changes(
    asked: Asked, change: Change, before: pd.DataFrame, after: pd.DataFrame, defects: Collection[str]
) -> pd.DataFrame:
    """Return the changed nodes in words: failures of a new kind first, however little time they take, inputs last."""
    low, high = change.interval
    sure = not low <= 0 <= high
    rows = [
        (
            *asked.about(part["node"]),
            *_numbers(part, "contribution", "low", "high"),
            part["contribution"] / change.difference if sure else float("nan"),
            *(_mean(side, part["node"]) for side in (before, after)),
            part["p_value"],
        )
        for part in change.frame.to_dict("records")
    ]
    columns = [*_NAMED, "contribution", "low", "high", "share", "before", "after", "p_value"]
    frame = pd.DataFrame(rows, columns=columns)
    rank = [2 if row["what"] == INPUTS else row["node"] not in defects for row in frame.to_dict("records")]
    return frame.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)


def _of_change(asked: Asked, change: Change, frame: pd.DataFrame) -> list[str]:
    """Return what the named changes leave open."""
    found = []
    for row in frame.to_dict("records"):
        if row["what"] == INPUTS:
            continue
        score = asked.scm.report.r2_scores.get(row["node"])
        if row["node"] in asked.scm.report.failed_nodes and score is not None:
            found.append(
                f"the model explains little of {row['node']} (held-out R2 {score:.2f}): what changed may be an "
                "unrecorded cause of it"
            )
        robust = asked.robust_to(row["node"])
        if robust is not None:
            found.append(
                "observational: which runs are before and which after was not drawn at random; an unmeasured cause "
                f"that explains {100 * robust[0]:.0f} % of what is left of both that and {row['node']} would bring the "
                f"change of its mean to zero, and {100 * robust[1]:.0f} % its interval"
            )
    repeated = [f"{node} failed validation: what changed may be an unrecorded cause of it" for node in frame["node"]]
    return [*found, *(caveat for caveat in change.caveats if caveat not in repeated)]


def _fragile(asked: Asked, nodes: list[str]) -> list[str]:
    """Return how strong an unmeasured common cause of each node and the target would have to be."""
    found: list[str] = []
    for node in nodes:
        if asked.scm.role(node) != "knob" and node != asked.target and len(asked.scm.levels.get(node, ())) <= 2:
            found += [caveat for caveat in asked.scm.effect(node, asked.target).caveats if "observational" in caveat]
    return found


def _effect_of(asked: Asked, node: str) -> tuple[tuple[Any, ...], list[str]]:
    """Return what switching an input does to the target's mean; nothing for steps, and for more than two labels."""
    nothing = ("", np.nan, np.nan, np.nan, False, np.nan)
    labels = asked.scm.levels.get(node)
    if asked.about(node)[2] != INPUTS or node == asked.target or (labels and len(labels) != 2):
        return nothing, []
    values = list(labels or np.quantile(asked.scm.table[node], [0.1, 0.9], method="nearest"))
    if values[0] == values[1]:
        return nothing, []
    found = asked.scm.effect(node, asked.target, values=values)
    robust = np.nan if found.robustness is None else found.robustness
    contrast = f"{node} = {_value(values[1])} instead of {_value(values[0])}"
    return (contrast, found.value, *found.interval, found.experimental, robust), found.caveats


def _value(value: Any) -> str:
    return str(value) if isinstance(value, str | bool | np.bool_) else f"{value:g}"
