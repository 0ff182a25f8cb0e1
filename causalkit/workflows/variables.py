"""From runs to variables: the trace table and the causal graph that the runs prove.

The variables of a run are its knobs, what may confound (load of the host, runs under way, length of the question), the
self time of each step, the time outside all steps, and the total. The total *is* the sum of the times: a derived node.
More of them can be asked for: what steps used up, what they were given and gave, how often they ran and failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import networkx as nx

from causalkit.errors import GraphError
from causalkit.graphs import check_graph
from causalkit.workflows.dataflow import Influence, knob_influences, step_flows
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.selftime import unaccounted_ms
from causalkit.workflows.trace_columns import (
    COLUMNS,
    RULES,
    USAGE,
    TraceColumns,
    clean_name,
    usage_of_run,
    wanted_columns,
)
from causalkit.workflows.trace_graph import PARALLEL, SUCCESS, TOTAL, UNACCOUNTED, GraphOfColumns, varies

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.traces import Traces

CONFOUNDERS = ("load_1m", "concurrent_runs", "question_length")
# Besides, where everything is asked for.
_LABELS = ("workflow_name", "mode", "router_version")

Edges = Iterable[tuple[str, str]]
Rule = Literal["sum", "mean", "max", "first", "last"]


def self_time_name(step_name: str) -> str:
    """Return the column of a step's self time.

    Examples
    --------
    >>> self_time_name("rerank"), self_time_name("openai/chat")
    ('rerank_self_ms', 'openai_chat_self_ms')
    """
    return f"{clean_name(step_name)}_self_ms"


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


def to_trace_table(
    traces: Traces,
    variables: str | Iterable[str] = ("self",),
    *,
    confounders: Iterable[str] | None = None,
    knobs: Iterable[str] | None = None,
    repeated: Rule = "sum",
) -> pd.DataFrame:
    """Return one row per run, one column per variable.

    Parameters
    ----------
    traces : Traces
        The runs.
    variables : str or iterable of str, default ("self",)
        What to tell of each step, beside its self time:

        - ``latency``: ``<step>_latency_ms``, with the steps that it called;
        - ``count``, ``retries``, ``success``: ``<step>_count``, ``<step>_retries`` (repetitions after an error of the
          same step under the same parent), ``<step>_success`` (False if any of them failed), and ``success`` of the
          run;
        - ``tokens``, ``cost``: ``<step>_input_tokens``, ``<step>_output_tokens``, ``<step>_model``,
          ``<step>_cost_usd``, and their sums ``total_input_tokens``, ``total_output_tokens``, ``total_cost_usd``; what
          a step only tells once more of the steps inside it counts once;
        - ``vram``: ``<step>_vram_peak_mb``;
        - ``sizes``: ``<step>_input_size``, ``<step>_output_size``, the letters of its input and output;
        - ``quality``: the quality signals of the run;
        - ``all``: all of these.
    confounders : iterable of str, optional
        Run attributes that may influence every step, or step attributes as ``step.attribute``; default ``load_1m``,
        ``concurrent_runs``, ``question_length``, as far as they were recorded.
    knobs : iterable of str, optional
        Run attributes, or step attributes as ``step.attribute``, that were set at random by design, beside those that
        the runs themselves recorded as knobs.
    repeated : {"sum", "mean", "max", "first", "last"}, default "sum"
        What the values of a step that ran more than once become (of peak VRAM the maximum is told in place of a sum).
        With "mean" the column ``<step>_count`` tells how many there were, with the others ``<step>_further_ms`` the
        time of the rest.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``request_id``. Times in milliseconds. Of a step that did not run in every run, ``<step>_ran`` tells
        whether it did, and its values are NaN elsewhere: fit them with ``missing="model"``. Those that other steps
        depend on stand there once more as ``..._or_0``, and so do all of a step that ran in fewer than 150 runs. Where
        steps ran side by side, ``parallel_ms`` is the time this saved, as a negative number. The column ``question`` is
        no variable: it names the cluster to which a run belongs. ``attrs["knobs"]`` names what was set at random by
        design, ``attrs["step_names"]`` the step behind each beginning of a column, ``attrs["caveats"]`` says what was
        left out before.

    Raises
    ------
    GraphError
        If there is no such variable or rule, a knob or confounder was named that no run recorded, or two variables have
        one name.

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
    return _gathered(traces, variables, confounders, knobs, repeated).table


def causal_graph(
    traces: Traces,
    variables: str | Iterable[str] = ("self",),
    *,
    confounders: Iterable[str] | None = None,
    knobs: Iterable[str] | None = None,
    repeated: Rule = "sum",
    required: Edges = (),
    forbidden: Edges = (),
) -> nx.DiGraph[str]:
    """Return the causal graph that the runs prove.

    Parameters
    ----------
    traces : Traces
        The runs.
    variables, confounders, knobs, repeated
        As in `to_trace_table`.
    required, forbidden : iterable of (str, str)
        Edges to add and edges to leave out, on the word of the user.

    Returns
    -------
    networkx.DiGraph
        Each node has a ``role`` (``knob``, ``confounder``, ``time``, ``derived`` or none); the derived total has its
        formula in ``derived``. Each edge has ``why`` and ``kind``: ``direct`` (the step read the knob), ``dataflow``
        (it was given what the knob may have changed, or what an earlier step put out), ``unrecorded`` (not ruled out),
        ``confounder``, ``step`` (of one step), ``call`` (a caller waits for it), ``control`` (it decides whether a step
        runs or a run succeeds), ``sum`` or ``user``. That one step begins after another adds no edge; it only rules out
        that it is a cause of it.

    Raises
    ------
    GraphError
        If an edge of the user names no variable or closes a cycle; otherwise as `to_trace_table`.

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
    found = _gathered(traces, variables, confounders, knobs, repeated)
    table, columns = found.table, found.columns
    causes = {name: "knob" for name in table.attrs["knobs"] if varies(table[name])}
    causes |= {name: "confounder" for name in found.confounders if name not in causes and varies(table[name])}
    growing = GraphOfColumns(columns, table, causes, _influences(traces, columns, causes))
    growing.add_steps()
    if {"input_size", "input_tokens"} & columns.suffixes:
        growing.add_flows(step_flows(traces))
    growing.add_times()
    growing.add_run(found.quality)
    _apply_user(growing.graph, required, forbidden)
    return check_graph(growing.graph)


class _Gathered(NamedTuple):
    table: pd.DataFrame
    columns: TraceColumns
    confounders: list[str]
    quality: list[str]


def _gathered(
    traces: Traces,
    variables: str | Iterable[str],
    confounders: Iterable[str] | None,
    knobs: Iterable[str] | None,
    repeated: str,
) -> _Gathered:
    import pandas as pd

    wanted, own_knobs = wanted_columns(variables), list(knobs or ())
    if repeated not in RULES:
        raise GraphError(f"repeated is {repeated!r}; choose one of {', '.join(RULES)}", repeated=repeated)
    usual = (*CONFOUNDERS, *(_LABELS if wanted == set(COLUMNS) else ()))
    names = list(usual if confounders is None else confounders)
    columns = TraceColumns({suffix for word in wanted for suffix in COLUMNS[word]}, repeated)
    recorded: dict[str, None] = dict.fromkeys(own_knobs)
    quality: dict[str, None] = {}
    before, times, after = [], [], []
    for run in traces:
        columns.add(run)
        recorded = dict.fromkeys(_knobs(run)) | recorded
        before.append(_told(run, [*own_knobs, *names]))
        times.append({UNACCOUNTED: unaccounted_ms(run), TOTAL: run.total_latency_ms})
        after.append(_of_run(run, wanted))
        quality |= dict.fromkeys(name for name in after[-1] if name in run.quality_signals)
    causes = pd.DataFrame(before).set_index("request_id")
    absent = [name for name in (*own_knobs, *names) if causes[name].isna().all()]
    for name in absent:
        if confounders is not None or name in own_knobs:
            kind = "knob" if name in own_knobs else "confounder"
            raise GraphError(f"no run recorded the {kind} {name!r}; name an attribute of the runs", node=name)
    total = pd.DataFrame(times, causes.index, dtype=float)
    if columns.overlaps:
        total.insert(1, PARALLEL, columns.parallel)
    told = pd.DataFrame(after, causes.index).dropna(axis="columns", how="all")
    table = pd.concat([causes.drop(columns=absent), columns.table(causes.index), total, told], axis="columns")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise GraphError(f"two variables are called {twice[0]!r}; rename the attribute or the step", node=twice[0])
    table.attrs["caveats"] = list(traces.caveats)
    table.attrs["knobs"] = list(recorded)
    table.attrs["step_names"] = {step.prefix: name for name, step in columns.steps.items()}
    return _Gathered(table, columns, [name for name in names if name not in absent], list(quality))


def _told(run: WorkflowTrace, names: Iterable[str]) -> dict[str, Any]:
    row = run_row(run)
    told = {name: row[name] if name in row else _of_steps(run, name) for name in names}
    return {"request_id": run.request_id, "question": run.question, **_knobs(run), **told}


def _of_steps(run: WorkflowTrace, name: str) -> Any:
    """Return the attribute of the first step that has it, named as ``step.attribute``."""
    for step in run.steps:
        attribute = name.removeprefix(f"{step.step_name}.")
        if attribute != name and attribute in step.attributes:
            return step.attributes[attribute]
    return None


def _of_run(run: WorkflowTrace, wanted: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {SUCCESS: run.success} if SUCCESS in wanted else {}
    used = [suffix for word in ("tokens", "cost") if word in wanted for suffix in COLUMNS[word] if suffix in USAGE]
    found |= {f"total_{suffix}": usage_of_run(run, suffix) for suffix in used}
    signals = run.quality_signals.items() if "quality" in wanted else ()
    return found | {name: value for name, value in signals if isinstance(value, str | int | float)}


def _knobs(run: WorkflowTrace) -> Mapping[str, Any]:
    knobs = run.attributes.get("knobs")
    return knobs if isinstance(knobs, Mapping) else {}


def _influences(traces: Traces, columns: TraceColumns, causes: Mapping[str, str]) -> dict[str, dict[str, Influence]]:
    """Return the knobs that can have influenced each step; an attribute of a step is no cause of what began before."""
    knobs = [name for name, role in causes.items() if role == "knob"]
    owners = {knob: name for knob in knobs for name in columns.steps if knob.startswith(f"{name}.")}
    found = knob_influences(traces, [knob for knob in knobs if knob not in owners])
    for knob, owner in owners.items():
        for name in columns.steps:
            if name == owner:
                found[name][knob] = Influence("direct", f"{owner!r} ran with it")
            elif not columns.always_before(name, owner):
                found[name][knob] = Influence("unrecorded", f"not ruled out: {name!r} ran after {owner!r} or beside it")
    return found


def _apply_user(graph: nx.DiGraph[str], required: Edges, forbidden: Edges) -> None:
    required, forbidden = list(required), list(forbidden)
    for node in {node for edge in (*required, *forbidden) for node in edge} - set(graph):
        raise GraphError(f"{node!r} is no variable of these runs; known are {', '.join(graph)}", node=node)
    for edge in required:
        graph.add_edge(*edge, kind="user", why="required by the user")
    graph.remove_edges_from(forbidden)
