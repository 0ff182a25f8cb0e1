"""A curve is the same question asked at many values."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import GraphError, ValidationError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service

SERVICE = Service()


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    table = SERVICE.table(np.random.default_rng(0))
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(SERVICE.graph, table)


@pytest.fixture(scope="module")
def labels() -> FittedSCM:
    rng = np.random.default_rng(0)
    size = rng.normal(50, 20, 600).round()
    mode = np.array(["deep", "fast", "off"])[rng.integers(3, size=600)]
    ms = pd.Series(mode).map({"deep": 30.0, "fast": 10.0, "off": 0.0}) + 0.1 * size + rng.normal(size=600)
    cached = rng.random(600) < 1 / (1 + np.exp((ms - 20) / 10))
    table = pd.DataFrame({"size": size, "mode": mode, "ms": ms, "cached": np.where(cached, "yes", "no")})
    graph = nx.DiGraph([("mode", "ms"), ("size", "ms"), ("ms", "cached")])
    return SCMFitter(on_failure="return", random_seed=0).fit(graph, table).trust()


def test_each_point_is_the_mean_under_that_value(scm: FittedSCM) -> None:
    frame = scm.effect_curve("depth", "total_ms").to_frame().set_index("value")
    for depth in (2.0, 7.0):
        assert frame.loc[depth, "mean"] == pytest.approx(scm.intervene({"depth": depth}, 1).of("total_ms")["mean"])
    assert frame.loc[8.0, "mean"] - frame.loc[1.0, "mean"] == pytest.approx(
        scm.effect("depth", "total_ms", values=(1, 8)).value
    )
    assert ((frame["low"] < frame["mean"]) & (frame["mean"] < frame["high"])).all()


def test_the_band_holds_the_true_means(scm: FittedSCM) -> None:
    rows = scm.effect_curve("depth", "total_ms").to_frame().to_dict("records")
    assert sum(row["low"] <= SERVICE.mean_total(row["value"]) <= row["high"] for row in rows) >= 6


def test_few_values_are_taken_as_they_were_recorded_many_evenly_over_their_range(
    scm: FittedSCM, labels: FittedSCM
) -> None:
    assert scm.effect_curve("depth", "total_ms").frame["value"].tolist() == list(range(1, 9))
    loads = scm.effect_curve("load", "total_ms").frame["value"]
    assert len(loads) == 20
    assert np.ptp(np.diff(loads)) == pytest.approx(0, abs=1e-9)
    assert (loads.iloc[0], loads.iloc[-1]) == (scm.table["load"].min(), scm.table["load"].max())
    sizes = labels.effect_curve("size", "ms").frame["value"]
    assert len(sizes) == 20
    assert (sizes == sizes.round()).all()


def test_values_that_were_never_recorded_are_marked(scm: FittedSCM) -> None:
    curve = scm.effect_curve("depth", "total_ms", np.array([20, 4, 4, -3]))
    assert curve.frame["value"].tolist() == [-3, 4, 20]
    assert curve.frame["extrapolated"].tolist() == [True, False, True]
    assert sum("never recorded" in caveat for caveat in curve.caveats) == 2
    assert not any("never recorded" in caveat for caveat in scm.effect_curve("depth", "total_ms").caveats)


def test_a_label_has_a_point_for_each_and_a_share_is_an_outcome(labels: FittedSCM) -> None:
    curve = labels.effect_curve("mode", "ms")
    assert curve.frame["value"].tolist() == ["deep", "fast", "off"]
    assert curve.frame["mean"].tolist() == pytest.approx([35, 15, 5], abs=0.5)
    assert "do(mode = off)" in curve.sentence
    assert labels.effect_curve("mode", "ms", ["off", "deep"]).frame["value"].tolist() == ["off", "deep"]
    cached, not_cached = (labels.effect_curve("ms", f"cached={label}", [0, 20, 40]).frame for label in ("yes", "no"))
    assert cached["mean"].is_monotonic_decreasing
    assert (cached["mean"] + not_cached["mean"]).tolist() == pytest.approx([1.0] * 3)
    assert cached["low"].min() >= 0
    assert cached["high"].max() <= 1


def test_the_sentence_says_where_the_mean_is_least_and_largest(scm: FittedSCM) -> None:
    sentence = scm.effect_curve("depth", "total_ms").sentence
    assert "least" in sentence.split("do(depth = 1)")[0]
    assert "largest" in sentence.split("do(depth = 1)")[1].split("do(depth = 8)")[0]
    assert "observational" not in sentence
    assert "(observational)" in scm.effect_curve("load", "total_ms").sentence


def test_what_lies_upstream_does_not_move(scm: FittedSCM) -> None:
    curve = scm.effect_curve("rank_ms", "search_ms", [1, 2])
    assert curve.frame["mean"][0] == curve.frame["mean"][1]
    assert "whatever rank_ms is set to" in curve.sentence


@pytest.mark.parametrize(
    ("treatment", "outcome", "values"),
    [
        ("dept", "total_ms", None),
        ("depth", "latency", None),
        ("total_ms", "rank_ms", None),
        ("depth", "depth", None),
        ("depth", "total_ms", []),
        ("depth", "total_ms", 4),
        ("depth", "total_ms", "4"),
        ("depth", "total_ms", ["4"]),
        ("depth", "total_ms", [[4], [5]]),
        ("depth", "total_ms", [4, float("nan")]),
        ("depth", "total_ms", [4, None]),
        ("depth", "total_ms", [abs]),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(scm: FittedSCM, treatment: str, outcome: str, values: Any) -> None:
    with pytest.raises(GraphError) as caught:
        scm.effect_curve(treatment, outcome, values)
    assert caught.value.node in {treatment, outcome}


def test_an_unknown_label_is_refused_beside_the_known_ones(labels: FittedSCM) -> None:
    with pytest.raises(GraphError, match="'deep', 'fast', 'off'"):
        labels.effect_curve("mode", "ms", ["deep", "slow"])


def test_a_biased_mechanism_on_the_way_refuses() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 500)
    table = pd.DataFrame({"x": x, "y": np.sin(4 * x) + 0.1 * rng.normal(size=500)})
    scm = SCMFitter(quality="GOOD", on_failure="return", random_seed=0).fit(nx.DiGraph([("x", "y")]), table)
    with pytest.raises(ValidationError, match="y: "):
        scm.effect_curve("x", "y")
    assert any("not calibrated" in caveat for caveat in scm.trust().effect_curve("x", "y").caveats)


def test_one_seed_gives_one_curve(scm: FittedSCM) -> None:
    first, second = (scm.effect_curve("depth", "total_ms", random_seed=3).frame for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
