"""Missing values are refused, dropped with a warning, or modelled; never lost silently."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.collect.failures import BiasedSampleWarning
from causalkit.errors import FitError, GraphError
from causalkit.scm.fitter import SCMFitter
from tests import truth
from tests.truth import fewest

VALIDATION = nx.DiGraph([("input", "is_valid"), ("input", "output"), ("is_valid", "output")])
CHAIN = nx.DiGraph([("x", "y"), ("y", "z")])


def _chain(seed: int = 0, num_rows: int = 1000) -> pd.DataFrame:
    """``y = 2x + noise``, missing the likelier the larger x; ``z = y + noise``."""
    rng = np.random.default_rng(seed)
    x, y_noise, z_noise = rng.normal(size=(3, num_rows))
    y = 2 * x + y_noise
    absent = rng.logistic(size=num_rows) < 2 * x - 1
    return pd.DataFrame({"x": x, "y": np.where(absent, np.nan, y), "z": y + z_noise})


def test_by_default_every_column_is_named_with_its_count() -> None:
    table = truth.validation_function().assign(input=lambda rows: rows["input"].where(rows.index > 3))
    with pytest.raises(FitError, match=r"missing in 'input' \(4 of 1000\), 'output' \(\d+ of 1000\)"):
        SCMFitter(random_seed=0).fit(VALIDATION, table)


def test_missingness_is_explained_by_what_decides_it() -> None:
    table = truth.validation_function()
    scm = SCMFitter(random_seed=42, missing="model").fit(VALIDATION, table)
    assert scm.report.passed
    assert scm.report.r2_scores["output_missing"] > 0.95
    log_odds = scm.to_dict()["mechanisms"]["output_missing"]["log_odds"]["True"]
    assert log_odds["is_valid"] < -5
    drawn = scm.sample(400)
    assert (drawn["output"].isna() == drawn["output_missing"]).all()
    assert (drawn["output_missing"] == ~drawn["is_valid"]).mean() > 0.98


def test_dropping_rows_warns_where_that_biases_the_rest() -> None:
    table = truth.validation_function()
    with pytest.warns(BiasedSampleWarning, match="rows were dropped for missing values of output; which ones depends"):
        scm = SCMFitter(random_seed=0, missing="drop", on_failure="return").fit(VALIDATION, table)
    assert len(scm.table) == table["output"].notna().sum()
    assert any("is a biased sample" in caveat for caveat in scm.caveats)


def test_dropping_rows_at_random_says_so_and_does_not_warn() -> None:
    table = truth.linear_chain()
    table.loc[np.random.default_rng(0).random(1000) < 0.1, "Y"] = np.nan
    scm = SCMFitter(random_seed=0, missing="drop").fit(nx.DiGraph([("X", "Y"), ("Y", "Z")]), table)
    assert any("rows were dropped for missing values of Y" in caveat for caveat in scm.caveats)


def test_the_effect_through_a_node_with_missing_values_is_recovered(proof: bool) -> None:
    num_seeds = 200 if proof else 20
    held = []
    for seed in range(num_seeds):
        scm = SCMFitter(random_seed=seed, missing="model", on_failure="return").fit(CHAIN, _chain(seed))
        effect = scm.trust().effect("x", "z")
        held.append(effect.interval[0] <= 2 <= effect.interval[1])
    print(np.mean(held))
    assert (0.9 <= np.mean(held) <= 0.98) if proof else np.mean(held) >= fewest(0.92, num_seeds)


def test_a_missing_share_that_depends_on_nothing_fails_no_model() -> None:
    table = truth.linear_chain()
    table.loc[np.random.default_rng(0).random(1000) < 0.1, "Y"] = np.nan
    report = SCMFitter(random_seed=0, missing="model").fit(nx.DiGraph([("X", "Y"), ("Y", "Z")]), table).report
    assert report.passed
    assert abs(report.r2_scores["Y_missing"]) < 0.05


def test_missing_roots_and_labels_are_modelled_too() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"mode": rng.choice(["a", "b"], 500), "x": rng.normal(size=500)})
    table["y"] = table["x"] + (table["mode"] == "a") + 0.1 * rng.normal(size=500)
    table.loc[::7, "mode"] = None
    table.loc[::11, "x"] = np.nan
    scm = SCMFitter(random_seed=0, missing="model").fit(nx.DiGraph([("mode", "y"), ("x", "y")]), table)
    drawn = scm.sample(200)
    assert drawn["mode"].isna().any()
    assert scm.effect("mode", "y", values=("b", "a")).value == pytest.approx(1, abs=0.1)


def test_a_column_without_any_value_and_a_taken_name_are_refused() -> None:
    with pytest.raises(FitError, match="'y' has no value in any row"):
        SCMFitter(missing="model").fit(CHAIN, _chain().assign(y=np.nan))
    with pytest.raises(GraphError, match="'y_missing' already"):
        SCMFitter(missing="model").fit(nx.DiGraph([*CHAIN.edges, ("x", "y_missing")]), _chain().assign(y_missing=1.0))
