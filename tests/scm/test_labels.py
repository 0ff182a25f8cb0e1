"""Booleans and labels as targets and as parents, and whole numbers."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import FitError, GraphError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.interventions import Shift
from tests.truth import fewest

SERVICE = nx.DiGraph(
    [("mode", "ok"), ("depth", "ok"), ("ok", "ms"), ("depth", "ms"), ("mode", "ms"), ("depth", "route")]
)
FITTER = SCMFitter(random_seed=0, on_failure="return", progress=False)


def _service(seed: int = 0, num_rows: int = 2000) -> pd.DataFrame:
    """``ms = 20 + 3 depth + 30 ok + 10 (mode deep) + noise``; ok is likelier where mode is deep, by 6 in log-odds."""
    rng = np.random.default_rng(seed)
    mode = rng.choice(["deep", "fast", "off"], num_rows)
    depth = rng.integers(1, 9, num_rows)
    ok = rng.logistic(size=num_rows) < 2 * (3 * (mode == "deep") + depth - 5)
    ms = 20 + 3 * depth + 30 * ok + 10 * (mode == "deep") + rng.normal(size=num_rows)
    odds = np.column_stack([np.zeros(num_rows), depth - 4.0, 8.0 - 2 * depth])
    route = np.array(["a", "b", "c"])[np.argmax(odds + rng.gumbel(size=odds.shape), axis=1)]
    return pd.DataFrame({"mode": mode, "depth": depth, "ok": ok, "ms": ms, "route": route})


def test_labels_are_judged_by_log_loss_and_numbers_by_r2() -> None:
    report = FITTER.fit(SERVICE, _service()).report
    assert {score.node: score.score for score in report.scores} == {
        "ok": "log-loss skill",
        "ms": "R2",
        "route": "log-loss skill",
    }
    assert report.r2_scores["ms"] > 0.99
    assert 0 < report.r2_scores["route"] < 1


def test_a_label_that_depends_on_nothing_is_worse_than_its_base_rate_or_no_better() -> None:
    table = _service().assign(route=lambda rows: np.random.default_rng(1).choice(["a", "b"], len(rows)))
    score = FITTER.fit(SERVICE, table).report.scores
    assert abs(next(one.r2 for one in score if one.node == "route")) < 0.02


def test_log_odds_are_recovered_in_their_own_units(proof: bool) -> None:
    num_seeds = 200 if proof else 20
    within = []
    for seed in range(num_seeds):
        table = _service(seed)
        found = FITTER.fit(nx.DiGraph([("mode", "ok"), ("depth", "ok")]), table).to_dict()["mechanisms"]["ok"]
        odds = found["log_odds"]["True"]
        within.append(abs(odds["depth"] - 2) < 0.5 and abs(odds["mode=fast"] + 6) < 1.5)
    assert np.mean(within) >= fewest(0.95, num_seeds)


def test_effects_of_and_on_labels() -> None:
    scm = FITTER.fit(SERVICE, _service())
    on_ms = scm.effect("mode", "ms", values=("fast", "off"))
    assert on_ms.interval[0] < 0 < on_ms.interval[1]
    assert scm.effect("ok", "ms").value == pytest.approx(30, abs=0.5)
    share = scm.effect("depth", "route=b", values=(2, 4))
    truth = np.exp(0) / (1 + np.exp(0) + np.exp(0)) - np.exp(-2) / (1 + np.exp(-2) + np.exp(4))
    assert share.value == pytest.approx(truth, abs=0.05)


def test_the_interval_of_a_shares_mean_holds_the_truth(proof: bool) -> None:
    num_seeds = 200 if proof else 20
    held = []
    for seed in range(num_seeds):
        scm = FITTER.fit(nx.DiGraph([("depth", "route")]), _service(seed, 1000))
        mean = scm.trust().intervene({"depth": 3}, 1).of("route=c")
        truth = np.exp(2) / (1 + np.exp(-1) + np.exp(2))
        held.append(mean["low"] <= truth <= mean["high"])
    print(np.mean(held))
    assert (0.9 <= np.mean(held) <= 0.98) if proof else np.mean(held) >= fewest(0.92, num_seeds)


def test_samples_hold_labels_and_whole_numbers_as_they_were_recorded() -> None:
    graph = nx.DiGraph([*SERVICE.edges, ("depth", "retries")])
    table = _service().assign(retries=lambda rows: np.random.default_rng(2).poisson(rows["depth"]))
    drawn = FITTER.fit(graph, table).sample(300)
    assert set(drawn["mode"]) == {"deep", "fast", "off"}
    assert drawn["ok"].dtype == bool
    assert (drawn["retries"] == drawn["retries"].round()).all()


def test_a_counterfactual_keeps_what_is_not_below_the_action() -> None:
    table = _service()
    scm = FITTER.fit(SERVICE, table)
    rows = table.head(50)
    answer = scm.trust().counterfactual(rows, {"mode": "deep"})
    was_deep = (rows["mode"] == "deep").to_numpy()
    assert (answer.frame.loc[was_deep, "ok"] == rows.loc[was_deep, "ok"]).all()
    assert answer.frame["ms"].to_numpy()[was_deep] == pytest.approx(rows["ms"].to_numpy()[was_deep])
    assert (answer.frame["depth"] == rows["depth"]).all()
    # Deep mode makes ok likelier; noise kept, nobody loses it.
    assert (answer.frame["ok"] >= rows["ok"]).all()
    raised = answer.frame["ms"] - rows["ms"]
    assert raised[~was_deep & (answer.frame["ok"] == rows["ok"]).to_numpy()].to_numpy() == pytest.approx(10, abs=0.5)


def test_an_unknown_label_is_refused_beside_the_known() -> None:
    scm = FITTER.fit(SERVICE, _service())
    with pytest.raises(GraphError, match="cannot be set to 'slow'; its labels are 'deep', 'fast', 'off'"):
        scm.intervene({"mode": "slow"})
    with pytest.raises(GraphError, match="say which two to compare"):
        scm.effect("mode", "ms")
    with pytest.raises(GraphError, match="ask for the share of one: 'route=a'"):
        scm.effect("depth", "route")
    with pytest.raises(FitError, match="label that is not known"):
        scm.counterfactual(_service().head(3).assign(mode="slow"), {"depth": 2})


def test_ordered_categories_enter_as_one_number() -> None:
    sizes = pd.Categorical(_service()["mode"], ["off", "fast", "deep"], ordered=True)
    scm = FITTER.fit(SERVICE, _service().assign(mode=sizes))
    assert scm.mechanisms["ms"].terms.features.names == ("depth", "mode", "ok")
    nominal = FITTER.fit(SERVICE, _service()).mechanisms["ms"].terms.features.names
    assert nominal == ("depth", "mode=fast", "mode=off", "ok")


def test_a_label_that_never_changes_is_a_constant() -> None:
    report = FITTER.fit(SERVICE, _service().assign(ok=True)).report
    assert next(score.verdict for score in report.scores if score.node == "ok") == "constant"


def test_a_column_of_one_label_is_a_constant_and_keeps_its_label() -> None:
    scm = FITTER.fit(SERVICE, _service().assign(route="only"))
    assert next(score.verdict for score in scm.report.scores if score.node == "route") == "constant"
    assert set(scm.sample(20)["route"]) == {"only"}


def test_labels_cannot_be_shifted_or_put_through_a_function() -> None:
    scm = FITTER.fit(SERVICE, _service())
    for action in (Shift(1), max):
        with pytest.raises(GraphError, match="its labels are 'deep', 'fast', 'off'"):
            scm.intervene({"mode": action})


def test_labels_told_without_error_are_fitted_all_the_same() -> None:
    table = _service().assign(ok=lambda rows: rows["depth"] > 4)
    report = FITTER.fit(SERVICE, table).report
    assert report.r2_scores["ok"] > 0.95
