"""Which recorded runs a question is asked of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from causalkit.errors import FitError, GraphError
from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.interventions import Intervention, is_number
from causalkit.scm.preparing import MISSING_SUFFIX

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

# Fewer runs say next to nothing about a population of such runs.
_MIN_ROWS = 20
# Cluster bootstraps with fewer clusters than this are too narrow (Cameron, Gelbach & Miller 2008, section I).
_FEW_GROUPS = 30


@dataclass(frozen=True, eq=False)
class Runs:
    """Recorded runs, and what of them stays as it was recorded.

    Attributes
    ----------
    rows : ndarray of int
        Their places in the table of the model.
    held : frozenset of str
        Nodes with a condition and all their causes; everything else is drawn.
    """

    rows: IntArray
    held: frozenset[str] = frozenset()

    def known(self, scm: FittedState, rows: IntArray) -> dict[str, FloatArray]:
        """Return the recorded values of what is held, for rows of any shape."""
        return {node: scm.table[node].to_numpy()[rows] for node in self.held}

    def caveats(self, scm: FittedState) -> list[str]:
        """Return what the number of these runs makes doubtful."""
        num_groups = len(np.unique(scm.blocks[self.rows]))
        if not self.held or num_groups >= _FEW_GROUPS:
            return []
        return [f"the runs asked about are of {num_groups} independent groups only: intervals are too narrow"]


def all_runs(scm: FittedState) -> Runs:
    """Return all runs, nothing of them held."""
    return Runs(np.arange(len(scm.table)))


def runs_where(scm: FittedState, given: Mapping[str, Any], actions: Mapping[str, Intervention]) -> Runs:
    """Return the runs in which nodes had certain values.

    Parameters
    ----------
    scm : FittedSCM
    given : mapping
        Node -> a number or label, or a pair of numbers (low, high), both within.
    actions : mapping
        What is asked about these runs.

    Raises
    ------
    GraphError
        If a node is unknown, has no such value, or is itself changed by what is done (``.node``).
    FitError
        If fewer than 20 rows match (``.num_rows``).
    """
    if not isinstance(given, Mapping):
        raise GraphError(f"given is {given!r}; give a mapping such as {{'load': (1, 2), 'mode': 'fast'}}")
    if not given:
        return all_runs(scm)
    changed = {below for node in actions for below in (node, *nx.descendants(scm.graph, node))}
    match = np.ones(len(scm.table), dtype=bool)
    for node, value in given.items():
        _check_node(scm, node, changed)
        match &= _matches(scm, node, value) & scm.observed.get(node, True)
    rows = np.flatnonzero(match)
    if len(rows) < _MIN_ROWS:
        raise FitError(
            f"{len(rows)} of {len(match)} rows have {describe_given(given)}, which is too few to ask about; widen the "
            f"condition until {_MIN_ROWS} match",
            num_rows=len(rows),
        )
    # That a value is there is part of the condition, unless it depends on what is done.
    conditions = {*given, *(node + MISSING_SUFFIX for node in given if node in scm.observed)} - changed
    return Runs(rows, frozenset(conditions.union(*(nx.ancestors(scm.graph, node) for node in conditions))))


def describe_given(given: Mapping[str, Any]) -> str:
    """Return conditions in words.

    Examples
    --------
    >>> describe_given({"load": (1, 2.5), "mode": "fast"})
    'load 1 to 2.5 and mode = fast'
    """
    return " and ".join(_phrase(node, value) for node, value in given.items())


def _phrase(node: str, value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{node} {value[0]:g} to {value[1]:g}"
    return f"{node} = {float(value):g}" if is_number(value) else f"{node} = {value}"


def _check_node(scm: FittedState, node: str, changed: set[str]) -> None:
    if node not in scm.graph:
        raise GraphError(f"{node!r} is no node of the model; known are {', '.join(scm.graph)}", node=node)
    if node in changed:
        raise GraphError(
            f"{node!r} is itself changed by what is done, so runs cannot be chosen by it; ask scm.counterfactual about "
            "the rows instead",
            node=node,
        )


def _matches(scm: FittedState, node: str, value: Any) -> BoolArray:
    column, labels = scm.table[node].to_numpy(), scm.levels.get(node)
    if labels is not None:
        if isinstance(value, str | bool | np.generic | int | float) and value in labels:
            return np.asarray(column == labels.index(value))
        raise GraphError(f"{node!r} is never {value!r}; its labels are {', '.join(map(repr, labels))}", node=node)
    if is_number(value):
        return np.asarray(column == value)
    if isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]:
        return np.asarray((column >= value[0]) & (column <= value[1]))
    raise GraphError(f"{node!r} cannot be given as {value!r}; give a finite number or a pair (low, high)", node=node)
