"""Send values through the model, from roots to leaves, for one set of coefficients or for many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from causalkit.scm.arrays import FloatArray
from causalkit.scm.derived import combine
from causalkit.scm.interventions import Intervention, apply
from causalkit.scm.noise import Noise

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

Values = dict[str, FloatArray]


def propagate(
    scm: FittedState,
    noise: Mapping[str, Noise],
    interventions: Mapping[str, Intervention] | None = None,
    coefficients: Mapping[str, FloatArray] | None = None,
    known: Mapping[str, FloatArray] | None = None,
    until: str | None = None,
) -> Values:
    """Return every node's values.

    Parameters
    ----------
    scm : FittedSCM
    noise : mapping of str to ndarray, each of shape (rows, 1) or (rows, replicates), or to a function
        A root's noise is its value; a function makes the noise from the mechanism's own value.
    interventions : mapping, optional
        What is done to nodes; everything upstream of them keeps its course.
    coefficients : mapping of str to ndarray, shape (terms, replicates), optional
        Refits of the mechanisms; default: the fitted ones.
    known : mapping of str to ndarray, optional
        Nodes whose values are known already and are not computed again.
    until : str, optional
        Only what this node comes from is computed, and the node itself; default: all nodes.

    Returns
    -------
    dict of str to ndarray, each of shape (rows, 1) or (rows, replicates)
    """
    values: Values = dict(known or {})
    wanted = set(scm.order) if until is None else scm.upstream(until)
    for node in scm.order:
        if node in wanted and node not in values:
            values[node] = _value(scm, node, values, noise, coefficients)
            if interventions and node in interventions:
                values[node] = apply(interventions[node], values[node])
    return values


def _value(
    scm: FittedState,
    node: str,
    values: Values,
    noise: Mapping[str, Noise],
    coefficients: Mapping[str, FloatArray] | None,
) -> FloatArray:
    if node in scm.derived:
        parts = {parent: values[parent] for parent in sorted(scm.graph.predecessors(node))}
        return combine(scm.derived[node], parts, scm.levels)
    own = noise[node]
    if node not in scm.mechanisms:
        return own  # type: ignore[return-value] # a root's noise is its value, never a function
    mechanism = scm.mechanisms[node]
    columns = [values[parent] for parent in mechanism.parents]
    return mechanism.respond(columns, own, None if coefficients is None else coefficients[node])
