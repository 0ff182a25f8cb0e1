"""From a graph and a trace table to columns of floats: labels become places, and missing values are accounted for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from causalkit.collect.failures import BiasedSampleWarning, find_bias
from causalkit.errors import FitError, GraphError
from causalkit.graphs import check_graph
from causalkit.scm.arrays import BoolArray
from causalkit.scm.derived import FORMULAS, check_formula, combine, shown
from causalkit.tables import Levels, check_table, find_levels, row_name

if TYPE_CHECKING:
    import networkx as nx

# A derived column may differ from its formula by rounding in the file it was read from.
_ROUNDING = 1e-3
MISSING_SUFFIX = "_missing"


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a fit starts from.

    Attributes
    ----------
    graph : networkx.DiGraph
        A copy of the caller's, with roles, formulas and indicators of missing values marked.
    table : pandas.DataFrame
        One float column per node; NaN where a value is missing and is to be modelled.
    levels : dict of str to tuple
        The labels of nodes that hold labels.
    formulas : dict of str to str
        Derived nodes.
    groups : pandas.Series or None
    notes : tuple of str
        What was left out, in words.
    """

    graph: nx.DiGraph[str]
    table: pd.DataFrame
    levels: Levels
    formulas: dict[str, str]
    groups: pd.Series[Any] | None
    notes: tuple[str, ...] = field(default=())

    @property
    def nominal(self) -> Levels:
        """The labels of nodes whose labels have no order."""
        return {
            node: labels for node, labels in self.levels.items() if not self.graph.nodes[node].get("ordered", False)
        }

    @property
    def observed(self) -> dict[str, BoolArray]:
        """Which rows have values, of each node that lacks some."""
        present = self.table.notna()
        return {str(node): present[node].to_numpy() for node in present if not present[node].all()}


def prepare(
    causal_graph: nx.DiGraph[str],
    traces: pd.DataFrame,
    derived: Mapping[str, str],
    groups: str | None,
    missing: Literal["error", "drop", "model"],
) -> Prepared:
    """Return the columns of a graph, ready to be fitted.

    Raises
    ------
    GraphError
        If the graph has a cycle, or a formula cannot be read or is not of the node's parents.
    FitError
        If the table does not fit the graph.
    """
    graph = check_graph(causal_graph).copy()
    _mark_knobs(graph, traces)
    levels = find_levels(traces, graph) if isinstance(traces, pd.DataFrame) else {}
    table = check_table(traces, graph, levels=levels, missing="error" if missing == "error" else "keep")
    for node in levels:
        if getattr(traces[node].dtype, "ordered", False):
            graph.nodes[node]["ordered"] = True
    _check_distributions(graph, levels)
    notes = [*traces.attrs.get("caveats", ()), *_ignored(graph, traces, groups)]
    if missing == "drop":
        table, dropped = _drop(table)
        notes += dropped
    grouping = _groups(traces, groups, table.index)
    if missing == "model":
        table, levels = _add_indicators(graph, table, levels)
    formulas = _formulas(graph, derived)
    # What is computed is a number; of truth values 0 and 1.
    levels = {node: labels for node, labels in levels.items() if node not in formulas or labels != (False, True)}
    _check_accounting(graph, formulas, table, levels)
    return Prepared(graph, table, levels, formulas, grouping, tuple(notes))


def _groups(traces: pd.DataFrame, groups: str | None, rows: pd.Index[Any]) -> pd.Series[Any] | None:
    if groups is None:
        return None
    if groups not in traces:
        raise FitError(f"the trace table has no column {groups!r} to group by", column=groups)
    column = traces[groups]
    return column if len(column) == len(rows) else column.loc[rows]


def _ignored(graph: nx.DiGraph[str], traces: pd.DataFrame, groups: str | None) -> list[str]:
    extra = [str(column) for column in traces if column not in graph and column != groups]
    if not extra:
        return []
    named = ", ".join(extra[:5]) + (f" and {len(extra) - 5} more" if len(extra) > 5 else "")
    return [f"columns that are no nodes of the graph were ignored: {named}"]


def _drop(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    absent = table.isna().any(axis=1).to_numpy()
    if not absent.any():
        return table, []
    complete = table.loc[:, table.notna().all()].reset_index(drop=True)
    biases = find_bias(complete, np.flatnonzero(absent).tolist())
    columns = ", ".join(str(node) for node in table.columns[table.isna().any()])
    note = f"{absent.sum()} of {len(table)} rows were dropped for missing values of {columns}"
    if biases:
        note += f"; which ones depends on {'; '.join(biases)}: the rest is a biased sample"
        warnings.warn(note, BiasedSampleWarning, stacklevel=5)
    return table.loc[~absent], [note]


def _add_indicators(graph: nx.DiGraph[str], table: pd.DataFrame, levels: Levels) -> tuple[pd.DataFrame, Levels]:
    """Add a node for each column with missing values: whether the value is missing, by the column's own parents.

    The node attribute ``present`` names the one that alone decides, such as whether a step ran.
    """
    columns, labels = table.copy(), dict(levels)
    for node in [str(node) for node in table.columns[table.isna().any()]]:
        indicator = node + MISSING_SUFFIX
        if indicator in graph:
            raise GraphError(f"the graph has a node {indicator!r} already; rename it", node=indicator)
        if table[node].isna().all():
            raise FitError(f"column {node!r} has no value in any row; leave the node out", column=node)
        present: str | None = graph.nodes[node].get("present")
        parents = [present] if present is not None and present in graph else list(graph.predecessors(node))
        graph.add_node(indicator, role="missing")
        graph.add_edges_from((parent, indicator) for parent in parents)
        columns[indicator] = table[node].isna().astype(float)
        labels[indicator] = (False, True)
    return columns, labels


def _mark_knobs(graph: nx.DiGraph[str], traces: pd.DataFrame) -> None:
    # Whoever made the table knows what was drawn at random; a role that the graph gives wins.
    for node in getattr(traces, "attrs", {}).get("knobs", ()):
        if node in graph:
            graph.nodes[node].setdefault("role", "knob")


def _check_distributions(graph: nx.DiGraph[str], levels: Levels) -> None:
    for node, name in graph.nodes(data="distribution"):
        if not name:
            continue
        if graph.in_degree(node) or node in levels:
            raise GraphError(f"{node!r} has parents or labels; only a root of numbers has a distribution", node=node)
        if not isinstance(getattr(stats, str(name), None), stats.rv_continuous):
            raise GraphError(
                f"the distribution {name!r} of {node!r} is none of scipy.stats' continuous ones, such as 'lognorm'",
                node=node,
            )


def _formulas(graph: nx.DiGraph[str], derived: Mapping[str, str]) -> dict[str, str]:
    marked = {node: data["derived"] for node, data in graph.nodes(data=True) if data.get("derived")}
    formulas = {**marked, **derived}
    for node, formula in formulas.items():
        if node not in graph or not graph.in_degree(node):
            raise GraphError(f"derived node {node!r} has no parents in the graph to be made of", node=node)
        if not isinstance(formula, str):
            raise GraphError(f"{node!r} is derived by {formula!r}; write its formula as a text", node=node)
        # A long formula may stand on several lines.
        formulas[node] = graph.nodes[node]["derived"] = " ".join(formula.split())
    return formulas


def _check_accounting(graph: nx.DiGraph[str], formulas: Mapping[str, str], table: pd.DataFrame, levels: Levels) -> None:
    for node, formula in formulas.items():
        check_formula(graph, node, formula, levels)
        family = table[[*sorted(graph.predecessors(node)), node]].dropna()
        if family.empty:
            raise FitError(f"no row has both the derived node {node!r} and all of its parts", column=node)
        off = np.abs(combine_rows(formula, family, levels) - family[node].to_numpy())
        if off.max() > _ROUNDING * max(float(family[node].abs().mean()), np.finfo(float).tiny):
            row = row_name(family.index, int(off.argmax()))
            what = f"the {formula} of its parents" if formula in FORMULAS else shown(formula)
            raise FitError(
                f"{node!r} is declared as {what}, but differs from it by {off.max():.4g} in row "
                f"{row!r}; add the part that is missing or drop the declaration",
                column=node,
                row=row,
            )


def combine_rows(formula: str, family: pd.DataFrame, levels: Levels) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a formula's value in every row of a table whose last column is the node itself."""
    return combine(formula, {str(part): family[[part]].to_numpy() for part in family.columns[:-1]}, levels)[:, 0]
