"""Contributions add up: to what healing all causes does, and to what other ways of working them out give."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.scm.fitter import SCMFitter
from tests.scm.random_systems import RandomSystem


def _product(seed: int, num_rows: int, **values: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(2 + rng.normal(size=(num_rows, 2)), columns=["x0", "x1"]).assign(**values)
    return table.assign(y=table["x0"] * table["x1"] + 0.1 * rng.normal(size=num_rows))


def test_contributions_of_interacting_causes_add_up_to_what_both_did() -> None:
    graph = nx.DiGraph([("x0", "y"), ("x1", "y")])
    scm = SCMFitter(on_failure="return", random_seed=0).fit(graph, _product(0, 800)).trust()
    found = scm.root_causes(_product(1, 1, x0=12.0, x1=12.0), "y")
    # 144 instead of 4: each moves 20 alone, and they share what they do together.
    assert found.frame["contribution"].tolist() == pytest.approx([70, 70], rel=0.03)
    assert found.frame["contribution"].sum() == pytest.approx(found.difference, rel=0.02)


def test_more_than_four_interacting_causes_say_how_they_were_averaged() -> None:
    graph = nx.DiGraph([(f"x{place}", "y") for place in range(6)])
    rng = np.random.default_rng(0)

    def grown(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(y=np.exp(0.3 * rows.sum(axis=1) + 0.05 * rng.normal(size=len(rows))))

    normal = grown(pd.DataFrame(rng.normal(size=(800, 6)), columns=sorted(set(graph) - {"y"})))
    scm = SCMFitter(on_failure="return", random_seed=0).fit(graph, normal).trust()
    found = scm.root_causes(grown(normal.drop(columns="y").head(1) * 0 + 6), "y")
    assert len(found.frame) == 6
    # Healing all of them leaves what is normal.
    assert found.frame["contribution"].sum() == pytest.approx(found.difference, rel=0.01)
    assert any("averages over 24 orders; the standard error" in caveat for caveat in found.caveats)


def test_a_linear_contribution_is_the_total_effect_of_the_noise() -> None:
    system = RandomSystem.of(3, num_nodes=12)
    rng = np.random.default_rng(0)
    scm = SCMFitter(on_failure="return", random_seed=0).fit(system.graph, system.table(rng, 1000)).trust()
    row = system.table(rng, 1, {"n02": 12.0, "n06": 12.0})
    found = scm.root_causes(row, system.target).frame.set_index("node")["contribution"]
    for node in ("n02", "n06"):
        parents, model = sorted(system.graph.predecessors(node)), scm.to_dict()["mechanisms"]
        coefficients = model[node]["coefficients"] if parents else {}
        deviations = row.iloc[0] - scm.table.mean()
        own = deviations[node] - sum(coefficients[parent] * deviations[parent] for parent in parents)
        assert found[node] == pytest.approx(scm.effect(node, system.target).value * own, rel=1e-3)


def test_contributions_to_a_mean_are_those_of_dowhy() -> None:
    gcm = pytest.importorskip("dowhy.gcm")
    from dowhy.gcm.anomaly_scorer import AnomalyScorer
    from dowhy.gcm.shapley import ShapleyConfig

    class Value(AnomalyScorer):
        def fit(self, X: np.ndarray) -> None: ...

        def score(self, X: np.ndarray) -> np.ndarray:
            return np.asarray(X, float).ravel()

    system = RandomSystem.of(1, num_nodes=5)
    rng = np.random.default_rng(0)
    table, row = system.table(rng, 1000), system.table(rng, 1, {"n01": 8.0, "n03": -8.0})
    theirs = gcm.InvertibleStructuralCausalModel(system.graph.copy())
    for node in system.nodes:
        root = system.graph.in_degree(node) == 0
        linear = gcm.EmpiricalDistribution() if root else gcm.AdditiveNoiseModel(gcm.ml.create_linear_regressor())
        theirs.set_causal_mechanism(node, linear)
    gcm.config.disable_progress_bars()
    gcm.fit(theirs, table)
    shares = gcm.attribute_anomalies(
        theirs,
        system.target,
        row,
        anomaly_scorer=Value(),
        attribute_mean_deviation=True,
        shapley_config=ShapleyConfig(n_jobs=1),
    )
    ours = SCMFitter(on_failure="return", random_seed=0).fit(system.graph, table).trust()
    found = ours.root_causes(row, system.target).frame
    assert {"n01", "n03"} <= set(found["node"])
    scatter = table[system.target].std()
    for cause in found.to_dict("records"):
        # DoWhy draws 3,000 rows for what is normal.
        assert cause["contribution"] == pytest.approx(shares[cause["node"]][0], abs=0.1 * scatter)
