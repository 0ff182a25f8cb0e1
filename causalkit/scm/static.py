"""Mechanisms that are known from source text instead of being fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.code.mechanism import StaticMechanism, infer_mechanism
from causalkit.collect.inputs import generate_random_inputs
from causalkit.errors import FitError
from causalkit.graphs import topological_order
from causalkit.scm.arrays import FloatArray
from causalkit.scm.attempts import Ladder
from causalkit.scm.features import Features
from causalkit.scm.formulas import FormulaOfParents
from causalkit.scm.regression import Regression
from causalkit.scm.terms import Terms
from causalkit.tables import row_name

if TYPE_CHECKING:
    import networkx as nx

Source = str | Callable[..., Any]
# Recorded and computed values may differ by the rounding of one more addition, or of a file.
_TOLERANCE = 1e-6
_LADDER = Ladder("static", (), "proven from source: nothing to fit")


def infer_all(graph: nx.DiGraph[str], function_code: Mapping[str, Source] | Source) -> dict[str, StaticMechanism]:
    """Return what the source says about every node with parents that it has a function for.

    Parameters
    ----------
    graph : networkx.DiGraph
    function_code : mapping of str to (str or callable), or str
        A function per node, or one text with a function named as each node. Parameters are named as parents.
    """
    below = [node for node in graph if graph.in_degree(node)]
    given = function_code if isinstance(function_code, Mapping) else dict.fromkeys(below, function_code)
    return {
        node: infer_mechanism(given[node], node=node, varying=sorted(graph.predecessors(node)))
        for node in below
        if node in given
    }


def static_table(
    graph: nx.DiGraph[str],
    function_code: Mapping[str, Source] | Source,
    input_ranges: Mapping[str, Any] | None,
    num_samples: int,
    random_seed: int,
) -> pd.DataFrame:
    """Return rows that a graph's functions make of drawn roots, by their formulas.

    Raises
    ------
    FitError
        If a node's source proves no formula (``.column``).
    """
    claims = infer_all(graph, function_code)
    order = topological_order(graph)
    roots = [node for node in order if not graph.in_degree(node)]
    table = generate_random_inputs(roots, input_ranges, num_samples, random_seed=random_seed)
    default = table.attrs["default_ranges"]
    for node in order:
        if node in roots:
            continue
        parents = sorted(graph.predecessors(node))
        mechanism = static_mechanism(node, parents, claims[node]) if node in claims else None
        if mechanism is None:
            reason = claims[node].reason or "it uses what is no parent" if node in claims else "it has no source"
            raise FitError(
                f"the source of {node!r} proves no formula: {reason}; record traces and fit this node", column=node
            )
        table[node] = predict_rows(mechanism, table[parents].to_numpy(dtype=float))
    table.attrs = {"knobs": roots}
    if default:
        table.attrs["caveats"] = [f"{', '.join(default)}: no recorded values, drawn uniformly between -10 and 10"]
    return table


def static_mechanism(node: str, parents: list[str], claim: StaticMechanism) -> Regression | None:
    """Return the mechanism that a claim describes, with noise still to be given; None where nothing is claimed."""
    if not claim.understood or not set(claim.variables) <= set(parents):
        return None
    features = Features.of(parents, {})
    terms = Terms(features, *_monomials(claim, parents), np.zeros(len(parents)), np.ones(len(parents)))
    coefficients = np.array([claim.offset or 0.0, *claim.coefficients.values()])
    learner = FormulaOfParents(str(claim.expression), parents) if claim.offset is None else None
    return Regression(node, terms, coefficients, np.zeros(1), _LADDER, learner=learner, formula=str(claim.expression))


def confirm(mechanism: Regression, family: pd.DataFrame) -> None:
    """Hold a proven mechanism against recorded rows.

    Raises
    ------
    FitError
        If they differ (``.column``, ``.row``): the sentence shows both.
    """
    computed = predict_rows(mechanism, family[list(mechanism.parents)].to_numpy())
    recorded = family[mechanism.node].to_numpy()
    size = max(float(np.abs(recorded).max()), np.finfo(float).tiny)
    wrong = ~(np.abs(computed - recorded) <= _TOLERANCE * size)
    if wrong.any():
        position = int(np.argmax(wrong))
        row = row_name(family.index, position)
        raise FitError(
            f"source and traces of {mechanism.node!r} disagree in {wrong.sum()} of {len(family)} rows: its source says "
            f"{mechanism.formula}, which is {computed[position]:.6g} in row {row!r}, where {recorded[position]:.6g} "
            "was recorded; give the source that was traced, or leave it out and the node is fitted",
            column=mechanism.node,
            row=row,
        )


def predict_rows(mechanism: Regression, columns: FloatArray) -> FloatArray:
    """Return what a mechanism makes of rows of its parents."""
    return mechanism.fitted(list(columns.T[:, :, None]))[:, 0]


def _monomials(claim: StaticMechanism, parents: list[str]) -> tuple[tuple[tuple[int, ...], ...]]:
    return (((), *(_factors(monomial, parents) for monomial in claim.coefficients)),)


def _factors(monomial: str, parents: list[str]) -> tuple[int, ...]:
    """Return which parents ``x**2*y`` multiplies, each as often as it does."""
    factors: list[int] = []
    for part in monomial.replace("**", "^").split("*"):
        name, _, power = part.partition("^")
        factors += [parents.index(name)] * int(power or 1)
    return tuple(factors)
