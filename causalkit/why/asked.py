"""What a question about runs starts from: their table, their graph, the model of both, and what holds anyway."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd

from causalkit.errors import GraphError, InsufficientDataError, TraceFormatError
from causalkit.graphs import check_graph
from causalkit.scm.falsify import Falsification, falsify
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.outcomes import Outcome
from causalkit.scm.sensitivity import robustness
from causalkit.why.findings import FAILURES, INPUTS, OUTSIDE, OWN_TIME, PRESENCE
from causalkit.workflows.trace_columns import OR_0

if TYPE_CHECKING:
    import networkx as nx

    from causalkit.scm.arrays import BoolArray
    from causalkit.scm.model import FittedSCM
    from causalkit.workflows.traces import PathLike, Traces

VARIABLES = ("self", "success")
UNACCOUNTED = "unaccounted_ms"
# Below, no model can be fitted and judged.
_FEWEST_RUNS = 40
# Of fewer runs a graph is not tested; of few runs only large differences are seen.
_FEWEST_TESTED, _FEW_RUNS = 50, 100
# Fewer clusters cannot be resampled.
_FEWEST_CLUSTERS = 10
# Share of the total outside all steps, and share of the runs inside the other side's time, that is worth a word.
_MUCH_OUTSIDE, _LITTLE_OVERLAP = 0.1, 0.5
_CHOSEN = "\0chosen"
# What a column of a step is about, by how its name ends.
_WHATS = {
    "_self_ms": OWN_TIME,
    "_further_ms": "time of further executions",
    "_success": FAILURES,
    "_ran": PRESENCE,
    "_count": "number of executions",
    "_retries": "retries",
    "_latency_ms": "whole time",
    "_model": "model",
    "_input_tokens": "input tokens",
    "_output_tokens": "output tokens",
    "_input_size": "input size",
    "_output_size": "output size",
    "_cost_usd": "cost",
    "_vram_peak_mb": "memory",
}


@dataclass(frozen=True, eq=False)
class Asked:
    """Runs as a table, a graph and a model.

    Attributes
    ----------
    target : str
    table : pandas.DataFrame
        The runs that have the target.
    chosen : ndarray of bool, shape (rows,)
        Which of them the question is about: those after a change, or those that were bad.
    scm : FittedSCM
    doubts : Falsification or None
        What the other runs say against the graph; None where there are too few of them.
    caveats : list of str
        What holds whatever the answer.
    """

    target: str
    table: pd.DataFrame
    chosen: BoolArray
    scm: FittedSCM
    doubts: Falsification | None
    caveats: list[str]

    def about(self, node: str) -> tuple[str, str, str]:
        """Return a node, the step it is about, or its own name, and what of it."""
        if node == UNACCOUNTED:
            return node, OUTSIDE, OUTSIDE
        if self.scm.role(node) in ("knob", "confounder"):
            return node, node, INPUTS
        names = self.table.attrs.get("step_names", {})
        told = node.removesuffix(OR_0)
        for ending, what in _WHATS.items():
            prefix = told.removesuffix(ending)
            if prefix != told and (not names or prefix in names):
                return node, names.get(prefix, prefix), what
        return node, node, "own behaviour" if node in self.scm.mechanisms else INPUTS

    def robust_to(self, node: str) -> tuple[float, float] | None:
        """Return how much an unmeasured cause has to explain to be why a node is other in the chosen runs.

        The model has to be one of all runs. The first share brings the difference to 0, the second its 95 % interval.
        """
        scm = self.scm
        rows = scm.table.assign(**{_CHOSEN: self.chosen.astype(float)})
        beside = sorted(scm.graph.predecessors(node))
        return robustness(replace(scm, table=rows), _CHOSEN, Outcome.of(scm, node), beside, None)


@dataclass(frozen=True)
class Asking:
    """How runs become a model: what the three questions have in common.

    Attributes
    ----------
    target : str
    variables : sequence of str or None
        As for `Traces.to_trace_table`; None: own times, and whether steps succeeded.
    graph : networkx.DiGraph or None
        The user's own; None: the one that the runs prove.
    cluster : str or None
        The field of a run that runs which are alike have in common; None: no two are.
    random_seed : int or None
    progress : bool
    """

    target: str
    variables: Sequence[str] | None
    graph: nx.DiGraph[str] | None
    cluster: str | None
    random_seed: int | None
    progress: bool

    def about(self, traces: Traces, chosen: Collection[str], *, of_all: bool) -> Asked:
        """Return table, graph and model of runs, some of them chosen; the model is one `of_all` or of the others."""
        if self.graph is not None:
            check_graph(self.graph)
        variables = tuple(self.variables or VARIABLES)
        table = traces.to_trace_table(variables=variables)
        graph = self.graph if self.graph is not None else traces.causal_graph(variables=variables)
        self._check_target(graph)
        caveats = [*traces.caveats, *self._unfinished(table)]
        table = table[table[self.target].notna()]
        table, cluster, alone = self._clustered(traces, table)
        is_chosen = table.index.isin(list(chosen))
        others = table[~is_chosen]
        scm = self._fit(graph, table if of_all else others, cluster)
        doubts = self._doubts(graph, others, cluster)
        caveats += [*alone, *_few(table, is_chosen), *self._outside(table), *_doubted(doubts)]
        return Asked(self.target, table, is_chosen, scm, doubts, caveats)

    def _check_target(self, graph: nx.DiGraph[str]) -> None:
        if self.target not in graph:
            raise GraphError(
                f"{self.target!r} is no variable of these runs; known are {', '.join(graph)} (more with variables=...)",
                node=self.target,
            )

    def _unfinished(self, table: pd.DataFrame) -> list[str]:
        absent = int(table[self.target].isna().sum())
        return [f"{absent} of {len(table)} runs have no {self.target} and are left out"] if absent else []

    def _clustered(self, traces: Traces, table: pd.DataFrame) -> tuple[pd.DataFrame, str | None, list[str]]:
        if self.cluster is None:
            return table, None, ["runs count as independent of each other, as cluster=None says"]
        if self.cluster not in table:
            rows = traces.to_pandas().set_index("request_id")
            if self.cluster not in rows:
                raise GraphError(f"the runs have no field {self.cluster!r} to be clustered by", node=self.cluster)
            table = table.assign(**{self.cluster: rows[self.cluster].reindex(table.index)})
        number = table[self.cluster].nunique()
        if number >= _FEWEST_CLUSTERS and table[self.cluster].notna().all():
            return table, self.cluster, []
        why = f"{self.cluster} tells {number} of them apart"
        return table, None, [f"runs count as independent of each other ({why}): intervals may be too narrow"]

    def _fit(self, graph: nx.DiGraph[str], rows: pd.DataFrame, cluster: str | None) -> FittedSCM:
        if len(rows) < _FEWEST_RUNS:
            raise InsufficientDataError(
                f"{len(rows)} runs are too few to tell what is behind their {self.target}; record at least "
                f"{_FEWEST_RUNS}",
                num_rows=len(rows),
                min_samples=_FEWEST_RUNS,
            )
        # What is left out here was said above, with its numbers.
        told = rows[[column for column in rows if column in graph or column == cluster]].copy()
        told.attrs = {"knobs": rows.attrs.get("knobs", [])}
        fitter = SCMFitter(
            groups=cluster,
            missing="model",
            min_samples=_FEWEST_RUNS,
            on_failure="return",
            random_seed=self.random_seed,
            progress=self.progress,
        )
        return fitter.fit(graph, told).trust()

    def _doubts(self, graph: nx.DiGraph[str], rows: pd.DataFrame, cluster: str | None) -> Falsification | None:
        whole = rows.dropna(subset=[node for node in graph if node in rows])
        if len(whole) < _FEWEST_TESTED:
            return None
        return falsify(graph, whole, groups=cluster, num_permutations=0, random_seed=0, progress=False)

    def _outside(self, table: pd.DataFrame) -> list[str]:
        if UNACCOUNTED not in table or not self.target.endswith("_ms"):
            return []
        share = table[UNACCOUNTED].sum() / table[self.target].sum()
        if share <= _MUCH_OUTSIDE:
            return []
        return [f"{100 * share:.0f} % of {self.target} lies outside all recorded steps, where causes have no name"]


def traces_of(source: Traces | PathLike) -> Traces:
    """Return runs as they are, or read from a file of any known kind."""
    from causalkit.workflows.readers.recognising import read_traces
    from causalkit.workflows.traces import Traces

    return source if isinstance(source, Traces) else read_traces(source)


def together(before: Traces, after: Traces) -> tuple[Traces, list[str]]:
    """Return the runs of both, and the names that those after have among them."""
    from causalkit.workflows.traces import load_traces

    # The same name may stand for a run before and for another one after.
    sides = {
        side: [msgspec.structs.replace(run, request_id=f"{side}/{run.request_id}") for run in runs]
        for side, runs in (("before", before), ("after", after))
    }
    both = load_traces([run for runs in sides.values() for run in runs])
    caveats = [f"{side}: {caveat}" for side, runs in (("before", before), ("after", after)) for caveat in runs.caveats]
    return replace(both, caveats=tuple(caveats)), [run.request_id for run in sides["after"]]


def over_time(traces: Traces, after: Collection[str]) -> list[str]:
    """Return the caveat that runs before and after were not recorded side by side, where that is so."""
    late = set(after)
    times: tuple[list[float], list[float]] = ([], [])
    for run in traces:
        if run.timestamp is not None:
            times[run.request_id in late].append(run.timestamp.timestamp())
    if not all(times):
        return ["when the runs were recorded is not known: what changed on the host in between cannot be told apart"]
    inside = [float(np.mean([min(other) <= time <= max(other) for time in own])) for own, other in (times, times[::-1])]
    if max(inside) >= _LITTLE_OVERLAP:
        return []
    return [
        "the runs before and after were not recorded side by side in time: a change of the host, or of the load that "
        "was not recorded, cannot be told from a change of the steps"
    ]


def runs_named(traces: Traces, runs: Any) -> Collection[str]:
    """Return the ids of runs that are named, or that fit a condition."""
    named = [runs] if isinstance(runs, str) else runs
    if not (callable(named) or isinstance(named, Iterable) or hasattr(named, "resolve")):
        raise TraceFormatError(
            f"a {type(runs).__name__} names no runs; give their request ids, a function of a WorkflowTrace, or an Ibis "
            "expression",
            runs=runs,
        )
    if callable(runs) or hasattr(runs, "resolve") or hasattr(runs, "op"):
        found = {run.request_id for run in traces.custom_filter(runs)}
    else:
        known, found = {run.request_id for run in traces}, set(named)
        if found - known:
            raise TraceFormatError(f"there is no run {min(found - known)!r} among these {len(known)}", runs=runs)
    if not found:
        raise TraceFormatError(f"none of these {len(traces)} runs fits the condition", runs=runs)
    return found


def _few(table: pd.DataFrame, chosen: BoolArray) -> list[str]:
    sizes = [size for size in (int((~chosen).sum()), int(chosen.sum())) if size]
    return [f"only {min(sizes)} runs: small differences cannot be seen"] if min(sizes) < _FEW_RUNS else []


def _doubted(doubts: Falsification | None) -> list[str]:
    if doubts is None:
        return ["too few runs have a value of every variable to test the graph on them"]
    if doubts.verdict != "contradicted":
        return []
    pairs = ", ".join(f"{one} and {other}" for one, other in doubts.missing_edges)
    return [f"the data doubt the graph: an edge or a common cause is missing between {pairs} (.doubts.plot() shows it)"]
