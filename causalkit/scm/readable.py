"""A fitted model as JSON that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import causalkit
from causalkit.scm.arrays import FloatArray
from causalkit.scm.classification import Classification
from causalkit.scm.derived import FORMULAS
from causalkit.scm.terms import Terms

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
        formula, in the parents' own units; splines as the values they add at their knots, straight beyond),
        ``validation`` (held-out scores and verdict), ``metadata``.
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
            "uncalibrated_nodes": list(report.uncalibrated_nodes),
            "threshold": report.threshold,
            "rule": report.rule,
            "scores": {score.node: score.score for score in report.scores},
            "warnings": report.caveats,
        },
        "metadata": {
            "num_samples": len(scm.table),
            "groups": scm.groups,
            "caveats": list(scm.caveats),
            "random_seed": scm.random_seed,
            "causalkit_version": causalkit.__version__,
        },
    }


def _mechanism(scm: FittedSCM, node: str) -> dict[str, Any]:
    parents = sorted(scm.graph.predecessors(node))
    if node in scm.derived:
        formula = scm.derived[node]
        return {
            "type": "derived",
            "parents": parents,
            "formula": f"{formula}({', '.join(parents)})" if formula in FORMULAS else formula,
        }
    if node not in scm.mechanisms:
        return {"type": "empirical", "parents": []}
    mechanism = scm.mechanisms[node]
    if isinstance(mechanism, Classification):
        return _classification(mechanism, scm.levels[node])
    if mechanism.learner is not None and mechanism.formula is not None:
        return {"type": "static", "parents": parents, "formula": mechanism.formula}
    terms = _terms(mechanism.terms, mechanism.coefficients)
    key = "coefficients" if all(len(term) < 2 for term in mechanism.terms.factors) else "terms"
    found = {"type": mechanism.rung, "parents": parents, key: terms, "intercept": terms.pop("intercept")}
    if mechanism.formula is not None:
        found["formula"] = mechanism.formula
    if mechanism.log:
        found["scale"] = "log"
    curves = mechanism.terms.curves(mechanism.coefficients)
    if curves:
        found["splines"] = {
            name: {"knots": knots.tolist(), "values": values.tolist()} for name, (knots, values) in curves.items()
        }
    if mechanism.learner is not None:
        found["learner"] = type(mechanism.learner).__name__
    return found


def _classification(mechanism: Classification, labels: tuple[Any, ...]) -> dict[str, Any]:
    parts = mechanism.coefficients.reshape(mechanism.num_labels - 1, -1)
    found: dict[str, Any] = {
        "type": f"{mechanism.rung} classifier",
        "parents": list(mechanism.parents),
        "labels": list(labels),
        "log_odds": {str(label): _terms(mechanism.terms, part) for label, part in zip(labels[1:], parts, strict=True)},
    }
    if mechanism.learner is not None:
        found["learner"] = type(mechanism.learner).__name__
    return found


def _terms(terms: Terms, coefficients: FloatArray) -> dict[str, float]:
    readable = {name: float(value) for name, value in terms.readable(coefficients).items()}
    # A proven formula has no use for what it does not contain.
    return {name: value for name, value in readable.items() if value or name == "intercept"}
