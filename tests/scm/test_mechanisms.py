"""The same model behind DoWhy's interfaces."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service

gcm = pytest.importorskip("dowhy.gcm")

SERVICE = Service(interaction=1.0)
TABLE = SERVICE.table(np.random.default_rng(0))
NUM_DRAWS = 20_000


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(SERVICE.graph, TABLE)


def test_interventions_agree_within_the_error_of_sampling(scm: FittedSCM) -> None:
    drawn = gcm.interventional_samples(scm.dowhy, {"depth": lambda _: 6.0}, num_samples_to_draw=NUM_DRAWS)
    ours = scm.intervene({"depth": 6.0}, 1)
    for node in ("search_ms", "rank_ms", "total_ms"):
        # Four standard errors of their draws, and of the 2,000 rows that stand for the population in ours.
        tolerance = 4 * drawn[node].std() * np.hypot(NUM_DRAWS**-0.5, len(TABLE) ** -0.5)
        assert drawn[node].mean() == pytest.approx(ours.of(node)["mean"], abs=tolerance)


def test_derived_nodes_are_exact_also_in_counterfactuals(scm: FittedSCM) -> None:
    drawn = gcm.counterfactual_samples(scm.dowhy, {"depth": lambda depth: depth + 1}, observed_data=scm.table.head(50))
    assert np.allclose(drawn["total_ms"], drawn["search_ms"] + drawn["rank_ms"])
    assert np.allclose(drawn["load"], scm.table["load"].head(50))
    slower = (drawn["search_ms"] - scm.table["search_ms"].head(50)).to_numpy()
    assert slower == pytest.approx(scm.effect("depth", "search_ms").value)


def test_the_models_own_graph_stays_free_of_what_dowhy_writes(scm: FittedSCM) -> None:
    before = nx.to_dict_of_dicts(scm.graph), {node: dict(data) for node, data in scm.graph.nodes(data=True)}
    gcm.draw_samples(scm.dowhy, 10)
    after = nx.to_dict_of_dicts(scm.graph), {node: dict(data) for node, data in scm.graph.nodes(data=True)}
    assert after == before


def test_dowhy_can_fit_it_anew_to_the_same_table(scm: FittedSCM) -> None:
    model = gcm.InvertibleStructuralCausalModel(scm.dowhy.graph.copy())
    for node in scm.order:
        model.set_causal_mechanism(node, scm.dowhy.causal_mechanism(node).clone())
    gcm.fit(model, scm.table)
    drawn = gcm.draw_samples(model, 5000)
    assert isinstance(drawn, pd.DataFrame)
    assert drawn["rank_ms"].mean() == pytest.approx(scm.table["rank_ms"].mean(), abs=1.0)
