"""One mechanism as plain JSON values, its residuals and its learner, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError
from causalkit.scm.attempts import Attempt, Ladder
from causalkit.scm.classification import Classification
from causalkit.scm.features import Features
from causalkit.scm.formulas import FormulaOfParents
from causalkit.scm.regression import Regression
from causalkit.scm.state import Mechanism
from causalkit.scm.storage_arrays import array_bytes, read_array
from causalkit.scm.storage_learners import learner_bytes, read_learner
from causalkit.scm.storage_values import read_value, write_value
from causalkit.scm.terms import Terms


def write_mechanism(mechanism: Mechanism, place: int, members: dict[str, bytes]) -> dict[str, Any]:
    """Return a mechanism as JSON holds it; add its residuals and its learner to the members of the file.

    Raises
    ------
    CausalkitError
        If its learner is of a type that would not be loaded again (``.node``).
    """
    written = {
        "node": mechanism.node,
        "terms": _write_terms(mechanism.terms),
        "coefficients": _floats(mechanism.coefficients),
        "ladder": write_ladder(mechanism.ladder),
        "learner": _write_learner(mechanism, f"learners/{place}.skops", members),
    }
    if isinstance(mechanism, Classification):
        return {"kind": "classification", **written, "num_labels": mechanism.num_labels}
    members[f"residuals/{place}.npy"] = array_bytes(np.asarray(mechanism.residuals, float))
    kept = {"log": bool(mechanism.log), "whole": bool(mechanism.whole), "formula": mechanism.formula}
    return {"kind": "regression", **written, **kept}


def read_mechanism(
    written: Mapping[str, Any], place: int, members: Mapping[str, bytes], table: pd.DataFrame
) -> Mechanism:
    """Return the mechanism that `write_mechanism` was given; `table` holds the rows of the model.

    Raises
    ------
    ValueError
        If its parts do not fit together; other errors where they are no such parts at all.
    """
    node, terms, ladder = str(written["node"]), _read_terms(written["terms"]), read_ladder(written["ladder"])
    coefficients, learner = np.array(written["coefficients"], float), _read_learner(written, place, members, terms)
    made: Mechanism
    if written["kind"] == "classification":
        num_labels = int(written["num_labels"])
        made = Classification(node, terms, coefficients, num_labels, ladder, learner)
        fits = num_labels > 1 and coefficients.shape == (len(terms) * (num_labels - 1),)
    else:
        residuals = read_array(members[f"residuals/{place}.npy"], (len(table),))
        kept = {name: bool(written[name]) for name in ("log", "whole")}
        made = Regression(
            node, terms, coefficients, residuals, ladder, **kept, learner=learner, formula=written["formula"]
        )
        fits = coefficients.shape == (len(terms),) and isinstance(made.formula, str | None)
    # What passes for a mechanism also answers: a model that loads must not fail at the first question.
    first = list(table.iloc[:1][list(terms.parents)].to_numpy().T[:, :, None])
    if not fits or made.fitted(first).shape != (1, 1):
        raise ValueError(f"the terms and coefficients of {node!r} do not fit together")
    return made


def write_ladder(ladder: Ladder) -> dict[str, Any]:
    """Return a ladder as JSON holds it."""
    attempts = [[attempt.rung, float(attempt.error), float(attempt.p_value)] for attempt in ladder.attempts]
    return {"chosen": ladder.chosen, "attempts": attempts, "stopped": ladder.stopped}


def read_ladder(written: Mapping[str, Any]) -> Ladder:
    """Return the ladder that `write_ladder` was given."""
    attempts = (Attempt(str(rung), float(error), float(p_value)) for rung, error, p_value in written["attempts"])
    return Ladder(str(written["chosen"]), tuple(attempts), str(written["stopped"]))


def _write_terms(terms: Terms) -> dict[str, Any]:
    features = terms.features
    where = f"a label of the parents {', '.join(features.parents)}"
    return {
        "parents": list(features.parents),
        "labels": [write_value(labels, where) for labels in features.labels],
        "factors": [[int(index) for index in term] for term in terms.factors],
        "centre": _floats(terms.centre),
        "scale": _floats(terms.scale),
        "knots": [[int(index), _floats(places)] for index, places in terms.knots],
    }


def _read_terms(written: Mapping[str, Any]) -> Terms:
    labels = tuple(read_value(of) for of in written["labels"])
    features = Features(tuple(written["parents"]), labels)
    centre, scale = (np.array(written[name], float) for name in ("centre", "scale"))
    knots = tuple((index, np.array(places, float)) for index, places in written["knots"])
    factors = tuple(tuple(term) for term in written["factors"])
    num_features = len(features.names)
    num_columns = num_features + sum(len(places) - 2 for _, places in knots)
    # From below zero Python would count from the end, and answer with another parent's value.
    fits = all(type(index) is int and 0 <= index < num_columns for term in factors for index in term)
    fits &= all(type(index) is int and 0 <= index < num_features and len(places) > 2 for index, places in knots)
    if not fits or not centre.shape == scale.shape == (num_features,):
        raise ValueError(f"the terms of the parents {', '.join(features.parents)} do not fit together")
    return Terms(features, factors, centre, scale, knots)


def _write_learner(mechanism: Mechanism, name: str, members: dict[str, bytes]) -> dict[str, Any] | None:
    learner = mechanism.learner
    if learner is None:
        return None
    if isinstance(learner, FormulaOfParents):
        return {"formula": learner.expression, "names": list(learner.names)}
    try:
        members[name] = learner_bytes(learner)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CausalkitError(
            f"the {type(learner).__name__} of {mechanism.node!r} cannot be saved: {error}; fit the model with one of "
            "causalkit's own rungs",
            node=mechanism.node,
        ) from error
    return {"file": name}


def _read_learner(written: Mapping[str, Any], place: int, members: Mapping[str, bytes], terms: Terms) -> Any:
    learner = written["learner"]
    if learner is None:
        return None
    if "formula" in learner:
        return FormulaOfParents(learner["formula"], learner["names"])
    return read_learner(members[f"learners/{place}.skops"], len(terms.features.names))


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]
