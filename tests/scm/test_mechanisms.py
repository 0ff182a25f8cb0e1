"""The same model behind DoWhy's interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from causalkit.errors import FitError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service

gcm = pytest.importorskip("dowhy.gcm")

SERVICE = Service(interaction=1.0)
TABLE = SERVICE.table(np.random.default_rng(0))
NUM_DRAWS = 20_000
EDGES = (
    "load-ok mode-ok load-route ok-route load-retries ok-retries load-steps size-steps load-wait route-wait wait-total"
)
EDGES += " ok-bill route-bill wait-bill paid-bill bill-total"


def shop(num_rows: int = 1200) -> pd.DataFrame:
    """Rows with every kind of node: labels and booleans in the middle, whole numbers, a skewed one, one that jumps."""
    rng = np.random.default_rng(0)
    mode, load, paid = rng.choice(["a", "b", "c"], num_rows), rng.normal(size=num_rows), rng.random(num_rows) < 0.4
    ok = load + (mode == "b") + 0.5 * rng.logistic(size=num_rows) > 0
    busy = load + rng.logistic(size=num_rows) > 1
    route = np.where(busy, "slow", np.where(ok, "fast", "mid"))
    retries = np.round(3 + 2 * load + 1.5 * ok + 0.5 * rng.normal(size=num_rows)).astype(int)
    size = rng.normal(size=num_rows)
    steps = 3 * ((load > 0) != (size > 0.5)) + 0.2 * rng.normal(size=num_rows)
    wait = np.exp(0.5 * load + 0.5 * (route == "slow") + 0.4 * rng.normal(size=num_rows))
    bill = 2 * ok + 3 * (route == "slow") + wait + paid + 0.3 * rng.normal(size=num_rows)
    columns = {"mode": mode, "load": load, "paid": paid, "ok": ok, "route": route, "retries": retries}
    return pd.DataFrame({**columns, "size": size, "steps": steps, "wait": wait, "bill": bill, "total": wait + bill})


SHOP = shop()


@pytest.fixture(autouse=True)
def _quiet_seeded_and_alone() -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002 - DoWhy draws from the global generator
    gcm.config.disable_progress_bars()
    gcm.config.set_default_n_jobs(1)
    gcm.util.general.set_random_seed(0)
    with threadpool_limits(1):
        yield
    gcm.config.set_default_n_jobs(-1)
    np.random.set_state(state)  # noqa: NPY002


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(SERVICE.graph, TABLE)


@pytest.fixture(scope="module")
def mixed() -> FittedSCM:
    graph = nx.DiGraph(tuple(edge.split("-")) for edge in EDGES.split())
    fitter = SCMFitter(on_failure="return", random_seed=0, progress=False)
    return fitter.fit(graph, SHOP, derived={"total": "sum"}).trust()


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
    model = _fitted_anew(scm, scm.table)
    drawn = gcm.draw_samples(model, 5000)
    assert isinstance(drawn, pd.DataFrame)
    assert drawn["rank_ms"].mean() == pytest.approx(scm.table["rank_ms"].mean(), abs=1.0)


def test_the_shop_has_a_mechanism_of_every_kind(mixed: FittedSCM) -> None:
    assert mixed.mechanisms["wait"].log
    assert getattr(mixed.mechanisms["steps"], "learner", None) is not None
    assert getattr(mixed.mechanisms["retries"], "whole", False)
    assert mixed.levels == {
        "mode": ("a", "b", "c"),
        "paid": (False, True),
        "ok": (False, True),
        "route": ("fast", "mid", "slow"),
    }


def test_labels_come_out_as_they_went_in(mixed: FittedSCM) -> None:
    drawn = gcm.draw_samples(mixed.dowhy, 2000)
    for node, labels in mixed.levels.items():
        assert set(drawn[node]) == set(labels)
        for label in labels:
            assert (drawn[node] == label).mean() == pytest.approx((SHOP[node] == label).mean(), abs=0.06)
    assert drawn["ok"].dtype == bool
    assert np.allclose(drawn["total"], drawn["wait"] + drawn["bill"])


def test_the_same_seed_draws_the_same_rows(mixed: FittedSCM) -> None:
    first, again = (_seeded(lambda: gcm.draw_samples(mixed.dowhy, 50)) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.parametrize(("node", "value"), [("ok", True), ("mode", "b"), ("load", 0.5)])
def test_interventions_upstream_of_labels_agree_with_ours(mixed: FittedSCM, node: str, value: Any) -> None:
    # Set on the recorded rows, so that roots do not differ between theirs and ours.
    rows = pd.concat([SHOP] * 10, ignore_index=True)
    drawn = gcm.interventional_samples(mixed.dowhy, {node: lambda _: value}, observed_data=rows)
    ours = mixed.intervene({node: value}, 1)
    for child in ("retries", "wait", "bill", "total"):
        tolerance = 4 * drawn[child].std() * np.hypot(len(rows) ** -0.5, len(SHOP) ** -0.5)
        assert drawn[child].mean() == pytest.approx(ours.of(child)["mean"], abs=tolerance)


def test_counterfactuals_through_labels_are_ours_row_by_row(mixed: FittedSCM) -> None:
    rows = SHOP.head(200)
    theirs = gcm.counterfactual_samples(mixed.dowhy, {"mode": lambda _: "b"}, observed_data=rows)
    ours = mixed.counterfactual(rows, {"mode": "b"}).to_frame()
    assert (theirs["ok"] != rows["ok"]).any()
    _assert_same(theirs, ours)


def test_noise_of_recorded_rows_gives_them_back(mixed: FittedSCM) -> None:
    rows = SHOP.head(200)
    _assert_same(gcm.counterfactual_samples(mixed.dowhy, {}, observed_data=rows), rows)


def test_a_fractional_value_of_whole_numbers_is_attributed(mixed: FittedSCM) -> None:
    anomaly = SHOP.head(2).assign(retries=lambda rows: rows["retries"] + 7.5)
    found = gcm.attribute_anomalies(mixed.dowhy, "retries", anomaly, num_distribution_samples=500)
    assert set(found) == {"load", "mode", "ok", "retries"}
    assert all(max(found, key=lambda node: found[node][row]) == "retries" for row in range(2))


def test_an_unknown_label_is_refused_by_name(mixed: FittedSCM) -> None:
    with pytest.raises(FitError, match=r"'mode' holds a label that is not known.*'z'"):
        gcm.counterfactual_samples(mixed.dowhy, {"mode": lambda _: "z"}, observed_data=SHOP.head(5))


QUESTIONS = {
    "anomalies behind labels": lambda model: gcm.attribute_anomalies(
        model, "wait", SHOP.head(2), num_distribution_samples=200
    ),
    "arrows into a number": lambda model: gcm.arrow_strength(
        model, "wait", num_samples_conditional=200, max_num_runs=20, n_jobs=1
    ),
    "arrows into a label": lambda model: gcm.arrow_strength(
        model, "route", num_samples_conditional=200, max_num_runs=20, n_jobs=1
    ),
    "intrinsic influence": lambda model: gcm.intrinsic_causal_influence(
        model, "wait", num_training_samples=500, num_samples_randomization=30, num_samples_baseline=30
    ),
    "intrinsic influence on a label": lambda model: gcm.intrinsic_causal_influence(
        model, "route", num_training_samples=500, num_samples_randomization=30, num_samples_baseline=30
    ),
    "relevance of parents": lambda model: gcm.parent_relevance(
        model, "wait", num_samples_randomization=30, num_samples_baseline=30
    )[0],
    "relevance of a label's parents": lambda model: gcm.parent_relevance(
        model, "route", num_samples_randomization=30, num_samples_baseline=30
    )[0],
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_dowhy_offers_works_behind_labels(mixed: FittedSCM, question: str) -> None:
    first, again = (_seeded(lambda: QUESTIONS[question](mixed.dowhy)) for _ in range(2))
    assert all(np.all(np.isfinite(value)) for value in first.values())
    assert {key: np.asarray(value).tolist() for key, value in first.items()} == {
        key: np.asarray(value).tolist() for key, value in again.items()
    }


def test_every_mechanism_can_be_fitted_anew(mixed: FittedSCM) -> None:
    half = SHOP.head(600)
    model = _fitted_anew(mixed, half)
    drawn = gcm.draw_samples(model, 4000)
    for node in ("retries", "steps", "wait", "bill"):
        assert drawn[node].mean() == pytest.approx(half[node].mean(), abs=5 * half[node].std() * len(half) ** -0.5)
    assert drawn["ok"].mean() == pytest.approx(half["ok"].mean(), abs=0.1)


def test_noise_of_a_learner_fitted_anew_is_that_of_rows_left_out(mixed: FittedSCM) -> None:
    mechanism = _fitted_anew(mixed, SHOP).causal_mechanism("steps")
    seen = mechanism.estimate_noise(SHOP["steps"].to_numpy(), SHOP[["load", "size"]].to_numpy())
    assert mechanism.noise_model.data.std() > 1.1 * seen.std()


def test_a_changed_mechanism_is_named(mixed: FittedSCM) -> None:
    slower = SHOP.tail(600).assign(wait=lambda rows: rows["wait"] + 2)
    columns = ["mode", "load", "ok", "route", "wait"]
    model = gcm.InvertibleStructuralCausalModel(mixed.dowhy.graph.subgraph(columns).copy())
    found = gcm.distribution_change(
        model,
        SHOP.head(600)[columns],
        slower[columns],
        "wait",
        num_samples=300,
        independence_test=lambda *_: 1.0,
        conditional_independence_test=lambda old, new, *_: 0.0,
        shapley_config=gcm.shapley.ShapleyConfig(n_jobs=1),
    )
    assert max(found, key=lambda node: abs(found[node])) == "wait"


def _fitted_anew(scm: FittedSCM, table: pd.DataFrame) -> Any:
    model = gcm.InvertibleStructuralCausalModel(scm.dowhy.graph.copy())
    for node in scm.order:
        model.set_causal_mechanism(node, scm.dowhy.causal_mechanism(node).clone())
    gcm.fit(model, table)
    return model


def _seeded(ask: Any) -> Any:
    gcm.util.general.set_random_seed(3)
    return ask()


def _assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    for node in expected:
        if expected[node].dtype.kind == "f" or node == "retries":
            assert np.allclose(found[node].astype(float), expected[node].astype(float))
        else:
            assert found[node].tolist() == expected[node].tolist()
