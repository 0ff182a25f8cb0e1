"""A fitted model as JSON that a person can read."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from causalkit.scm.model import FittedSCM


def as_dict(scm: FittedSCM) -> dict[str, Any]:
    """Return graph, mechanisms, validation and metadata.

    Parameters
    ----------
    scm : FittedSCM

    Returns
    -------
    dict
        ``graph`` (nodes, edges), ``mechanisms`` by node (type, parents, and coefficients with intercept, or terms, or
        formula, in the parents' own units), ``validation`` (held-out R2 and verdict), ``metadata``.
    """
    report = scm.report
    return {
        "graph": {"nodes": list(scm.graph), "edges": [list(edge) for edge in scm.graph.edges]},
        "mechanisms": {node: _mechanism(scm, node) for node in scm.graph},
        "validation": {
            "r2_scores": report.r2_scores,
            "mean_r2": report.mean_r2,
            "passed": report.passed,
            "failed_nodes": list(report.failed_nodes),
            "threshold": report.threshold,
            "rule": "every",
        },
        "metadata": {
            "num_samples": len(scm.table),
            "groups": scm.groups,
            "random_seed": scm.random_seed,
            "causalkit_version": version("causalkit"),
        },
    }


def _mechanism(scm: FittedSCM, node: str) -> dict[str, Any]:
    parents = sorted(scm.graph.predecessors(node))
    if node in scm.derived:
        return {
            "type": "derived",
            "parents": parents,
            "formula": f"{scm.derived[node]}({', '.join(parents)})",
        }
    if node not in scm.mechanisms:
        return {"type": "empirical", "parents": []}
    mechanism = scm.mechanisms[node]
    terms = {name: float(value) for name, value in mechanism.terms.readable(mechanism.coefficients).items()}
    intercept = terms.pop("intercept")
    key = "coefficients" if mechanism.rung == "linear" else "terms"
    return {"type": mechanism.rung, "parents": parents, key: terms, "intercept": intercept}
