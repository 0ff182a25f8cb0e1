"""What may have caused what in runs of ensembles and judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import networkx as nx

from causalkit.errors import GraphError
from causalkit.graphs import check_graph
from causalkit.operators.calls import OperatorCall
from causalkit.operators.decisions import Decisions, Ensemble
from causalkit.operators.vote_columns import RIGHT
from causalkit.operators.vote_measures import SPREADS, formula_of_votes

if TYPE_CHECKING:
    import pandas as pd


_SHARED = "no cause: both are of one case, of which not everything is recorded"


def graph_of(
    found: Decisions,
    table: pd.DataFrame,
    measure: str,
    cluster: str | None,
    required: Iterable[tuple[str, str]],
    forbidden: Iterable[tuple[str, str]],
) -> nx.DiGraph[str]:
    """Return the causal graph over the columns of a table that vary; see `causalkit.operators.trace_table`."""
    builder = _Builder(found, table, measure, cluster)
    for ensemble in found.ensembles:
        builder.add_ensemble(ensemble)
    for name, judge in found.judges.items():
        builder.add_judge(name, judge)
    builder.add_wishes(list(required), list(forbidden))
    return check_graph(builder.graph)


class _Builder:
    """A graph that grows by one ensemble and one judge after the other."""

    def __init__(self, found: Decisions, table: pd.DataFrame, measure: str, cluster: str | None) -> None:
        self.graph: nx.DiGraph[str] = nx.DiGraph()
        self._found, self._table, self._measure = found, table, measure
        self._members: list[str] = []
        knobs, covariates, inputs = (
            [name for name in found.reported[role] if name != cluster] for role in ("knob", "covariate", "input")
        )
        if found.truth is not None and found.truth not in knobs:
            covariates = list(dict.fromkeys([*covariates, found.truth]))
            inputs = [name for name in inputs if name != found.truth]
        own = {_takes_part(column) for ensemble in found.ensembles for column in ensemble.columns.values()}
        self._causes = {
            **dict.fromkeys((name for name in knobs if name not in own), "knob"),
            **dict.fromkeys(covariates, "confounder"),
        }
        for name, role in self._causes.items():
            self._add(name, role)
        for place, name in enumerate(inputs):
            self._add(name, "")
            self._connect_causes(name)
            self._connect(inputs[:place], name, "shared", _SHARED)
        self._causes |= dict.fromkeys(inputs, "")

    def add_ensemble(self, ensemble: Ensemble) -> None:
        """Add what each member does, and what follows from that."""
        parts = [self._add_member(column) for column in ensemble.columns.values()]
        votes, right = f"{ensemble.name}_votes", f"{ensemble.name}_right_votes"
        disagreement = f"{ensemble.name}_disagreement"
        if self._found.truth is None:
            self._derive(votes, _count(parts, ">= 0"), parts)
            terms = [(self._term(part), sorted(set(self._table[part].dropna()))) for part in parts]
            self._derive(disagreement, formula_of_votes(self._measure, terms), parts)
            return
        self._derive(votes, _count(parts, "!= 0"), parts)
        self._derive(right, _count(parts, f"== {RIGHT}"), parts)
        shape = SPREADS[self._measure]
        spread = f"{ensemble.name}_{shape.suffix}"
        self._add(spread, "")
        self._connect_causes(spread)
        self._connect([votes, right], spread, "data", "it is about the votes that are not right")
        self._derive(disagreement, shape.formula, {"votes": votes, "right": right, "spread": spread})

    def add_judge(self, name: str, judge: Mapping[str, OperatorCall]) -> None:
        """Add whether a judge is correct."""
        self._add(f"{name}_correct", "")
        if self._found.truth is not None:
            why = "not ruled out: who voted for what says more than how many did"
            self._connect(self._causes, f"{name}_correct", "unrecorded", why)
        given = self._linked(judge)
        for ensemble in self._found.ensembles:
            if self._found.truth is None:
                parents = [f"{column}_vote" for column in ensemble.columns.values()]
            else:
                suffixes = ("votes", "right_votes", SPREADS[self._measure].suffix)
                parents = [f"{ensemble.name}_{suffix}" for suffix in suffixes]
            if ensemble.name in given:
                self._connect(parents, f"{name}_correct", "dataflow", f"{name} was given the votes of {ensemble.name}")
            elif not given:
                why = f"not ruled out: no link tells whose votes {name} was given"
                self._connect(parents, f"{name}_correct", "unrecorded", why)

    def add_wishes(self, required: list[tuple[str, str]], forbidden: list[tuple[str, str]]) -> None:
        """Add and leave out edges on the word of the user."""
        for node in (node for edge in (*required, *forbidden) for node in edge):
            if node not in self.graph:
                known = ", ".join(self.graph)
                raise GraphError(f"{node!r} is no variable of these runs; known are {known}", node=node)
        self.graph.add_edges_from(required, kind="user", why="required by the user")
        self.graph.remove_edges_from(forbidden)

    def _add_member(self, column: str) -> str:
        takes_part = _takes_part(column)
        is_knob = takes_part in self._found.reported["knob"]
        self._add(takes_part, "knob" if is_knob else "")
        if not is_knob:
            self._connect_causes(takes_part)
        part = f"{column}_vote" if self._found.truth is None else f"{column}_right"
        self._add(part, "")
        self._connect_causes(part)
        self._connect([takes_part], part, "direct", "a member that takes no part does not vote")
        if self._found.truth is not None:
            self._connect(self._members, part, "shared", _SHARED)
            self._members.append(part)
        return part

    def _add(self, name: str, role: str) -> None:
        # A constant explains nothing. Compared as text, because None and NaN differ from themselves.
        if name in self._table and len(set(self._table[name].map(repr))) > 1:
            self.graph.add_node(name, role=role)

    def _connect(self, parents: Iterable[str], child: str, kind: str, why: str) -> None:
        if child in self.graph:
            known = [parent for parent in parents if parent in self.graph]
            self.graph.add_edges_from(((parent, child) for parent in known), kind=kind, why=why)

    def _connect_causes(self, child: str) -> None:
        for cause, role in self._causes.items():
            if role == "knob":
                self._connect(
                    [cause], child, "unrecorded", f"not ruled out: {cause} may change what operators are given"
                )
            elif role == "confounder":
                self._connect([cause], child, "confounder", f"{cause} was there before and may bear on anything")
            else:
                self._connect([cause], child, "dataflow", f"{cause} describes what the members are given")

    def _derive(self, name: str, formula: str, parents: Iterable[str] | Mapping[str, str]) -> None:
        self._add(name, "derived")
        if name in self.graph:
            fields = parents if isinstance(parents, Mapping) else {parent: parent for parent in parents}
            terms = {field: self._term(column) for field, column in fields.items()}
            self.graph.nodes[name]["derived"] = formula.format(**terms)
            self._connect(fields.values(), name, "sum", f"{name} is a formula of them")

    def _term(self, column: str) -> str:
        """Return what stands for a column in a formula: its name, or its value where that never changes."""
        return column if column in self.graph else f"{int(self._table[column].dropna().iloc[0])}"

    def _linked(self, judge: Mapping[str, OperatorCall]) -> set[str]:
        owners = {call.call_id: each.name for each in self._found.ensembles for call in each.calls.values()}
        calls = {call.call_id: call for run in self._found.runs.values() for call in run}
        given = set()
        for link in (link for call in judge.values() for link in call.links):
            call = calls.get(link)
            while call is not None:
                if call.call_id in owners:
                    given.add(owners[call.call_id])
                call = call.parent
        return given


def _takes_part(column: str) -> str:
    return f"{column}_takes_part"


def _count(parts: Iterable[str], condition: str) -> str:
    return " + ".join(f"({{{part}}} {condition})" for part in parts)
