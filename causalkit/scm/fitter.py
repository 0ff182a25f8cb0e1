"""Fit one mechanism per node and judge each on rows it has not seen."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError, InsufficientDataError, ValidationError
from causalkit.graphs import check_graph, topological_order
from causalkit.scm.arrays import BoolArray, IntArray
from causalkit.scm.blocks import deal_blocks
from causalkit.scm.model import FittedSCM
from causalkit.scm.propagate import combine
from causalkit.scm.selection import Mechanism, choose_mechanism
from causalkit.scm.validation import NodeScore, ValidationReport, score_node, split_rows
from causalkit.streams import stream
from causalkit.tables import check_table, row_name

if TYPE_CHECKING:
    import networkx as nx


_FORMULAS = ("sum", "max")
# Fewer held-out rows give an R2 whose interval covers almost everything.
_MIN_HELD_OUT = 20
# A derived column may differ from its formula by rounding in the file it was read from.
_ROUNDING = 1e-3


class ValidationWarning(UserWarning):
    """A model has mechanisms that fail on held-out rows, and was returned all the same."""


@dataclass(frozen=True, kw_only=True)
class SCMFitter:
    """Fit structural causal models to trace tables.

    Parameters
    ----------
    quality : {"AUTO", "GOOD"}, default "AUTO"
        How far mechanisms may climb: both go from linear to polynomials of degree 2, as far as left-out rows ask.
    r2_threshold : float, default 0.7
        The held-out R2 that every modelled node has to reach.
    test_size : float, default 0.2
        Share of rows (of groups, where groups are given) that is held out for the verdict. The returned model is then
        refitted to all rows.
    groups : str, optional
        Column that names the cluster of a row, such as the question of a run: never on both sides of the split, and
        resampled as one.
    min_samples : int, default 100
        Fewer rows are refused.
    on_failure : {"raise", "warn", "return"}, default "raise"
        What to do when a node stays below the threshold.
    random_seed : int, optional
        Default: fresh; kept in the model.

    Examples
    --------
    >>> import networkx as nx
    >>> x = np.random.default_rng(0).normal(size=500)
    >>> noise = np.random.default_rng(1).normal(size=500)
    >>> traces = pd.DataFrame({"x": x, "y": 2 * x + 0.1 * noise})
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), traces)
    >>> round(scm.effect("x", "y").value, 1)
    2.0
    """

    quality: Literal["AUTO", "GOOD"] = "AUTO"
    r2_threshold: float = 0.7
    test_size: float = 0.2
    groups: str | None = None
    min_samples: int = 100
    on_failure: Literal["raise", "warn", "return"] = "raise"
    random_seed: int | None = None

    def __post_init__(self) -> None:
        _one_of("quality", self.quality, ("AUTO", "GOOD"))
        _one_of("on_failure", self.on_failure, ("raise", "warn", "return"))
        if not 0 < self.test_size < 1:
            raise FitError(f"test_size is {self.test_size}; it is a share between 0 and 1")

    def fit(
        self, causal_graph: nx.DiGraph[str], traces: pd.DataFrame, *, derived: Mapping[str, str] | None = None
    ) -> FittedSCM:
        """Fit a model.

        Parameters
        ----------
        causal_graph : networkx.DiGraph
            Nodes are columns of `traces`; left as it is.
        traces : pandas.DataFrame
            The trace table. Columns that are no nodes are ignored.
        derived : mapping of str to {"sum", "max"}, optional
            Nodes that *are* a formula of their parents; added to those that the graph itself marks with ``derived``.

        Returns
        -------
        FittedSCM

        Raises
        ------
        GraphError
            If the graph has a cycle or names an unknown formula.
        FitError
            If the table does not fit the graph.
        InsufficientDataError
            If there are too few rows to fit and judge.
        ValidationError
            If a node stays below the threshold and `on_failure` is ``"raise"``; the model is its ``scm``.
        """
        graph = check_graph(causal_graph).copy()
        _mark_knobs(graph, traces)
        formulas = _formulas(graph, derived or {})
        table = check_table(traces, graph)
        groups = self._groups(traces)
        self._enough(len(table))
        _check_accounting(graph, formulas, table)
        seed = secrets.randbits(32) if self.random_seed is None else self.random_seed
        blocks = deal_blocks(groups, len(table), stream(seed, "blocks"))
        modelled = [node for node in topological_order(graph) if graph.in_degree(node) and node not in formulas]
        report = self._judge(graph, modelled, table, groups, blocks, seed)
        mechanisms = {node: _fit_node(graph, node, table, blocks) for node in modelled}
        caveats = tuple(traces.attrs.get("caveats", ()))
        scm = FittedSCM(graph, mechanisms, formulas, report, table, blocks, self.groups, caveats, seed)
        return self._deliver(scm)

    def _groups(self, traces: pd.DataFrame) -> pd.Series[Any] | None:
        if self.groups is None:
            return None
        if self.groups not in traces:
            raise FitError(f"the trace table has no column {self.groups!r} to group by", column=self.groups)
        return traces[self.groups]

    def _enough(self, num_rows: int) -> None:
        fewest = max(self.min_samples, 2 * _MIN_HELD_OUT)
        if num_rows < fewest:
            raise InsufficientDataError(
                f"{num_rows} rows are too few to fit a model and judge it; record at least {fewest} (min_samples)",
                num_rows=num_rows,
                min_samples=fewest,
            )

    def _judge(
        self,
        graph: nx.DiGraph[str],
        modelled: list[str],
        table: pd.DataFrame,
        groups: pd.Series[Any] | None,
        blocks: IntArray,
        seed: int,
    ) -> ValidationReport:
        held_out = split_rows(groups, len(table), self.test_size, stream(seed, "split"))
        if min(held_out.sum(), (~held_out).sum()) < _MIN_HELD_OUT:
            raise InsufficientDataError(
                f"only {held_out.sum()} of {len(table)} rows can be held out; {_MIN_HELD_OUT} are needed on each side "
                "of the split: record more rows or more groups",
                num_rows=len(table),
                min_samples=self.min_samples,
            )
        scores = [self._score(graph, node, table, held_out, blocks, seed) for node in modelled]
        return ValidationReport(tuple(scores), self.r2_threshold, int(held_out.sum()), self.groups or "rows")

    def _score(
        self,
        graph: nx.DiGraph[str],
        node: str,
        table: pd.DataFrame,
        held_out: BoolArray,
        blocks: IntArray,
        seed: int,
    ) -> NodeScore:
        learnt = np.unique(blocks[~held_out], return_inverse=True)[1]
        mechanism = _fit_node(graph, node, table[~held_out], learnt)
        unseen = table[held_out]
        predicted = mechanism.terms.design(unseen[list(mechanism.parents)].to_numpy()) @ mechanism.coefficients
        actual = unseen[node].to_numpy()
        return score_node(node, mechanism.rung, actual, predicted, blocks[held_out], self.r2_threshold, seed)

    def _deliver(self, scm: FittedSCM) -> FittedSCM:
        report = scm.report
        if report.passed or self.on_failure == "return":
            return scm
        if self.on_failure == "warn":
            warnings.warn(report.sentence, ValidationWarning, stacklevel=3)
            return scm
        raise ValidationError(
            f"{report.sentence} Add the causes that are missing, record more, or look at the model all the same: "
            "on_failure='return'",
            r2_scores=report.r2_scores,
            mean_r2=report.mean_r2,
            threshold=report.threshold,
            failed_nodes=report.failed_nodes,
            scm=scm,
        )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise FitError(f"{name} is {value!r}; it is one of {', '.join(map(repr, allowed))}")


def _mark_knobs(graph: nx.DiGraph[str], traces: pd.DataFrame) -> None:
    # Whoever made the table knows what was drawn at random; a role that the graph gives wins.
    for node in getattr(traces, "attrs", {}).get("knobs", ()):
        if node in graph:
            graph.nodes[node].setdefault("role", "knob")


def _formulas(graph: nx.DiGraph[str], derived: Mapping[str, str]) -> dict[str, str]:
    marked = {node: data["derived"] for node, data in graph.nodes(data=True) if data.get("derived")}
    formulas = {**marked, **derived}
    for node, formula in formulas.items():
        if node not in graph or not graph.in_degree(node):
            raise GraphError(f"derived node {node!r} has no parents in the graph to be made of", node=node)
        if formula not in _FORMULAS:
            raise GraphError(f"{node!r} is derived by {formula!r}; known formulas are sum and max", node=node)
        graph.nodes[node]["derived"] = formula
    return formulas


def _check_accounting(graph: nx.DiGraph[str], formulas: Mapping[str, str], table: pd.DataFrame) -> None:
    for node, formula in formulas.items():
        parts = [table[[parent]].to_numpy() for parent in sorted(graph.predecessors(node))]
        off = np.abs(combine(formula, parts)[:, 0] - table[node].to_numpy())
        if off.max() > _ROUNDING * max(float(table[node].abs().mean()), np.finfo(float).tiny):
            row = row_name(table.index, int(off.argmax()))
            raise FitError(
                f"{node!r} is declared as the {formula} of its parents, but differs from it by {off.max():.4g} in row "
                f"{row!r}; add the part that is missing or drop the declaration",
                column=node,
                row=row,
            )


def _fit_node(graph: nx.DiGraph[str], node: str, table: pd.DataFrame, blocks: IntArray) -> Mechanism:
    # By name, so that a model does not depend on the order in which edges were added.
    parents = sorted(graph.predecessors(node))
    return choose_mechanism(node, parents, table[parents].to_numpy(), table[node].to_numpy(), blocks)
