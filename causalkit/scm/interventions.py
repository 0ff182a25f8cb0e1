"""What can be done to a node: set it, shift it, scale it, or put it through a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from causalkit.errors import GraphError
from causalkit.scm.arrays import FloatArray
from causalkit.tables import Levels

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class Shift:
    """Add `by` to whatever value the node has.

    Examples
    --------
    >>> str(Shift(2))
    '+2'
    """

    by: float

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the shifted values."""
        return values + self.by

    def __str__(self) -> str:
        return f"{self.by:+g}"


@dataclass(frozen=True)
class Scale:
    """Multiply whatever value the node has by `by`.

    Examples
    --------
    >>> str(Scale(0.5))
    'x 0.5'
    """

    by: float

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the scaled values."""
        return values * self.by

    def __str__(self) -> str:
        return f"x {self.by:g}"


Intervention = float | bool | str | Shift | Scale | Callable[[FloatArray], FloatArray]


def check_interventions(
    interventions: Mapping[str, Any], graph: nx.DiGraph[str], levels: Levels | None = None
) -> dict[str, Intervention]:
    """Return the interventions if each is a thing that can be done to its node.

    Raises
    ------
    GraphError
        If a node is unknown or derived, or its value is neither a finite number, a label of the node, `Shift`, `Scale`
        nor a callable.
    """
    for node, action in interventions.items():
        _check_node(node, graph)
        labels = (levels or {}).get(node)
        if labels is not None:
            _check_label(node, action, labels)
            continue
        amount = action.by if isinstance(action, Shift | Scale) else action
        if not (callable(amount) or (isinstance(amount, Real) and math.isfinite(amount))):
            raise GraphError(
                f"{node!r} cannot be set to {action!r}; give a finite number, Shift(by), Scale(by) or a function",
                node=node,
            )
    return dict(interventions)


def encode(interventions: Mapping[str, Intervention], levels: Levels) -> dict[str, Intervention]:
    """Return the interventions with labels as their places."""
    return {
        node: float(levels[node].index(action)) if node in levels and not callable(action) else action
        for node, action in interventions.items()
    }


def apply(action: Intervention, values: FloatArray) -> FloatArray:
    """Return the values that a node has under an intervention; `values` are those it would have had without.

    Raises
    ------
    GraphError
        If a function gives something else than one finite number for each value.
    """
    if not callable(action):
        return np.full_like(values[:, :1], float(action))
    changed = np.asarray(action(values), dtype=float)
    if changed.shape not in {(), values.shape}:
        raise GraphError(
            f"{_name(action)} gave an array of shape {changed.shape} for values of shape {values.shape}; return one "
            "number for each value"
        )
    if not np.isfinite(changed).all():
        raise GraphError(f"{_name(action)} gave missing or infinite values; return finite numbers")
    return np.broadcast_to(changed, values.shape)


def describe(interventions: Mapping[str, Intervention]) -> str:
    """Return the interventions in words.

    Examples
    --------
    >>> describe({"depth": 8, "size": Scale(0.5)})
    'do(depth = 8, size x 0.5)'
    """
    return f"do({', '.join(_phrase(node, action) for node, action in interventions.items())})"


def _phrase(node: str, action: Intervention) -> str:
    if isinstance(action, Shift | Scale):
        return f"{node} {action}"
    if callable(action):
        return f"{node} -> {_name(action)}({node})"
    return f"{node} = {action}" if isinstance(action, str | bool) else f"{node} = {action:g}"


def _name(action: Intervention) -> str:
    return str(getattr(action, "__name__", "function"))


def _check_label(node: str, action: Any, labels: tuple[Any, ...]) -> None:
    if callable(action) or action not in labels:
        told = _name(action) if callable(action) else repr(action)
        raise GraphError(f"{node!r} cannot be set to {told}; its labels are {', '.join(map(repr, labels))}", node=node)


def _check_node(node: str, graph: nx.DiGraph[str]) -> None:
    known: Collection[str] = graph.nodes
    if node not in known:
        raise GraphError(f"{node!r} is no node of the model; known are {', '.join(known)}", node=node)
    if graph.nodes[node].get("derived"):
        parents = ", ".join(sorted(graph.predecessors(node)))
        raise GraphError(f"{node!r} is made of its parts and cannot be set; act on one of {parents}", node=node)
