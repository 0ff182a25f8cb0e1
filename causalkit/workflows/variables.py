"""From runs to variables: the trace table and the causal graph that the runs prove.

The variables of a run are its knobs, what may confound (load of the host, runs under way, length of the question), the
self time of each step, the time outside all steps, and the total. The total *is* the sum of the times: a derived node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import networkx as nx

from causalkit.errors import GraphError
from causalkit.graphs import check_graph
from causalkit.workflows.dataflow import Influence, knob_influences
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.selftime import self_times, unaccounted_ms

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.traces import Traces

TOTAL = "total_latency_ms"
UNACCOUNTED = "unaccounted_ms"
CONFOUNDERS = ("load_1m", "concurrent_runs", "question_length")


def self_time_name(step_name: str) -> str:
    """Return the column of a step's self time.

    Examples
    --------
    >>> self_time_name("rerank")
    'rerank_self_ms'
    """
    return f"{step_name}_self_ms"


def run_row(run: WorkflowTrace) -> dict[str, Any]:
    """Return the fields of one run, its attributes and its knobs as one flat row."""
    attributes = {name: value for name, value in run.attributes.items() if name != "knobs"}
    return {
        "request_id": run.request_id,
        "workflow_name": run.workflow_name,
        "question": run.question,
        "question_length": len(run.question),
        "mode": run.mode,
        "timestamp": run.timestamp,
        "success": run.success,
        **_knobs(run),
        **attributes,
        TOTAL: float("nan") if run.total_latency_ms is None else run.total_latency_ms,
    }


def to_trace_table(traces: Traces, confounders: Iterable[str] | None = None) -> pd.DataFrame:
    """Return one row per run, one column per variable.

    Parameters
    ----------
    traces : Traces
        The runs.
    confounders : iterable of str, optional
        Run attributes that may influence every step; default ``load_1m``, ``concurrent_runs``, ``question_length``,
        as far as they were recorded.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``request_id``. Times in milliseconds; a step that did not run is NaN. The column ``question`` is no
        variable: it names the cluster to which a run belongs. ``attrs["knobs"]`` names what was set
        at random by design, ``attrs["caveats"]`` says what was left out before.

    Raises
    ------
    GraphError
        If a confounder was named that no run recorded.

    Examples
    --------
    >>> from causalkit.workflows.tracer import Tracer
    >>> from causalkit.workflows.traces import load_traces
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer", knobs={"depth": 2}) as run, run.step("search"):
    ...     pass
    >>> list(to_trace_table(load_traces(tracer.runs), confounders=["concurrent_runs"]))
    ['question', 'depth', 'concurrent_runs', 'search_self_ms', 'unaccounted_ms', 'total_latency_ms']
    """
    import pandas as pd

    names = list(CONFOUNDERS if confounders is None else confounders)
    table = pd.DataFrame([_variables(run, names) for run in traces]).set_index("request_id")
    absent = [name for name in names if table[name].isna().all()]
    if absent and confounders is not None:
        raise GraphError(f"no run recorded the confounder {absent[0]!r}; name an attribute of the runs", node=absent[0])
    table = table.drop(columns=absent)
    table.attrs["caveats"] = list(traces.caveats)
    table.attrs["knobs"] = list(dict.fromkeys(key for run in traces for key in _knobs(run)))
    return table


def causal_graph(
    traces: Traces,
    confounders: Iterable[str] | None = None,
    required: Iterable[tuple[str, str]] = (),
    forbidden: Iterable[tuple[str, str]] = (),
) -> nx.DiGraph[str]:
    """Return the causal graph that the runs prove.

    Parameters
    ----------
    traces : Traces
        The runs.
    confounders : iterable of str, optional
        As in `to_trace_table`.
    required, forbidden : iterable of (str, str)
        Edges to add and edges to leave out, on the word of the user.

    Returns
    -------
    networkx.DiGraph
        Each node has a ``role`` (``knob``, ``confounder``, ``time`` or ``derived``); the derived total has
        ``derived="sum"``. Each edge has ``why`` and ``kind``: ``direct`` (the step read the knob), ``dataflow`` (it
        read what the knob may have changed), ``unrecorded`` (the step did not record what it read),
        ``confounder``, ``sum`` or ``user``.

    Raises
    ------
    GraphError
        If an edge of the user names no variable or closes a cycle.

    Examples
    --------
    >>> from causalkit.workflows.tracer import Tracer
    >>> from causalkit.workflows.traces import load_traces
    >>> tracer = Tracer()
    >>> for depth in (1, 2):
    ...     with tracer.workflow("answer", knobs={"depth": depth}) as run, run.step("search"):
    ...         pass
    >>> graph = causal_graph(load_traces(tracer.runs), confounders=[])
    >>> graph.edges["depth", "search_self_ms"]["why"]
    'not ruled out: the step did not record what it read'
    """
    table = to_trace_table(traces, confounders)
    set_by_design = dict.fromkeys(key for run in traces for key in _knobs(run))
    knobs = [name for name in set_by_design if _varies(table[name])]
    known = CONFOUNDERS if confounders is None else tuple(confounders)
    covariates = [name for name in known if name in table and _varies(table[name])]
    steps = list(dict.fromkeys(step.step_name for run in traces for step in run.steps))
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(knobs, role="knob")
    graph.add_nodes_from(covariates, role="confounder")
    graph.add_nodes_from([*map(self_time_name, steps), UNACCOUNTED], role="time")
    graph.add_node(TOTAL, role="derived", derived="sum")
    _add_edges(graph, covariates, steps, knob_influences(traces, knobs))
    _apply_user(graph, required, forbidden)
    return check_graph(graph)


def _variables(run: WorkflowTrace, confounders: list[str]) -> dict[str, Any]:
    row = run_row(run)
    times = {self_time_name(name): time for name, time in self_times(run).items()}
    return {
        "request_id": run.request_id,
        "question": run.question,
        **_knobs(run),
        **{name: row.get(name) for name in confounders},
        **times,
        UNACCOUNTED: unaccounted_ms(run),
        TOTAL: row[TOTAL],
    }


def _knobs(run: WorkflowTrace) -> Mapping[str, Any]:
    knobs = run.attributes.get("knobs")
    return knobs if isinstance(knobs, Mapping) else {}


def _varies(column: pd.Series[Any]) -> bool:
    # A constant explains nothing; a node for it would only widen every interval.
    # Compared as text, because None and NaN differ from themselves.
    return len(set(column.map(repr))) > 1


def _add_edges(
    graph: nx.DiGraph[str],
    covariates: list[str],
    steps: list[str],
    influences: Mapping[str, Mapping[str, Influence]],
) -> None:
    for step in steps:
        node = self_time_name(step)
        for knob, (kind, why) in influences[step].items():
            graph.add_edge(knob, node, kind=kind, why=why)
    for node in [*map(self_time_name, steps), UNACCOUNTED]:
        for covariate in covariates:
            graph.add_edge(covariate, node, kind="confounder", why=f"{covariate} may slow anything that runs")
        graph.add_edge(node, TOTAL, kind="sum", why="the total is the sum of its parts")


def _apply_user(
    graph: nx.DiGraph[str], required: Iterable[tuple[str, str]], forbidden: Iterable[tuple[str, str]]
) -> None:
    required, forbidden = list(required), list(forbidden)
    for node in {node for edge in (*required, *forbidden) for node in edge} - set(graph):
        raise GraphError(f"{node!r} is no variable of these runs; known are {', '.join(graph)}", node=node)
    for edge in required:
        graph.add_edge(*edge, kind="user", why="required by the user")
    graph.remove_edges_from(forbidden)
