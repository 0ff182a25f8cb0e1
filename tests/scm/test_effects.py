"""An effect says how large it is, how sure, what was held fixed, and how little would explain it away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import GraphError
from causalkit.scm.adjustment import adjustment_set
from causalkit.scm.effects import EffectResult
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service, complex_dag, fewest, linear_chain, nonlinear

SERVICE = Service()
ROWS = 1200
CLUSTERS = np.arange(ROWS) // 12
MEANS = np.array([0.0, 2.0, 5.0])
# Fine enough for the mean over a standard normal population to four digits.
NORMAL = np.random.default_rng(0).normal(size=400_000)


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    table = SERVICE.table(np.random.default_rng(0))
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(SERVICE.graph, table)


def _fit(graph: nx.DiGraph, table: pd.DataFrame, seed: int = 0, groups: str | None = None) -> FittedSCM:
    return SCMFitter(on_failure="return", random_seed=seed, groups=groups).fit(graph, table).trust()


class TestAdjustment:
    @pytest.mark.parametrize(
        ("edges", "expected"),
        [
            ("xy", ()),
            ("xm my", ()),
            ("zx zy xy", ("z",)),
            ("zx zw wy xy", {("z",), ("w",)}),
            # A collider is left alone, and what the treatment does is not held fixed.
            ("xy xc yc", ()),
            ("xm my xy zm", ("z",)),
            # m is a common effect of two causes that are roots: roots may go together.
            ("ax am bm by xy", {("a",), ("b",)}),
            # An M of parents with causes of their own: holding m fixed would open the way.
            ("ra sa tb sb ax am bm by xy", {("a",), ("b",)}),
            ("yx", None),
            ("zx zy", None),
        ],
    )
    def test_what_is_held_fixed_follows_from_the_graph(self, edges: str, expected: Any) -> None:
        graph = nx.DiGraph([tuple(edge) for edge in edges.split()])
        found = adjustment_set(graph, "x", "y")
        assert found in expected if isinstance(expected, set) else found == expected

    def test_what_is_held_fixed_separates_and_is_minimal_in_any_graph(self) -> None:
        for seed in range(60):
            rng = np.random.default_rng(seed)
            graph = nx.DiGraph([(f"n{i}", f"n{j}") for i in range(8) for j in range(i + 1, 8) if rng.random() < 0.35])
            pairs = [(a, b) for a in graph for b in nx.descendants(graph, a) if graph.in_degree(a)]
            for treatment, outcome in pairs:
                found = adjustment_set(graph, treatment, outcome)
                assert found is not None
                assert not set(found) & nx.descendants(graph, treatment)
                cut = graph.copy()
                cut.remove_edges_from(list(graph.out_edges(treatment)))
                assert nx.is_d_separator(cut, {treatment}, {outcome}, set(found))

    def test_other_roots_count_as_confounders_unless_they_were_set_at_random(self) -> None:
        graph = nx.DiGraph([("load", "ms"), ("size", "ms"), ("other", "side"), ("depth", "ms")])
        assert adjustment_set(graph, "depth", "ms") == ("load", "size")
        graph.nodes["size"]["role"] = "knob"
        assert adjustment_set(graph, "depth", "ms") == ("load",)
        graph.nodes["depth"]["role"] = "knob"
        assert adjustment_set(graph, "depth", "ms") == ()

    def test_holding_them_fixed_gives_the_models_own_effect(self, scm: FittedSCM) -> None:
        effect = scm.effect("search_ms", "total_ms")
        assert effect.adjustment == ("depth",)
        design = np.column_stack([np.ones(len(scm.table)), scm.table[["search_ms", "depth"]]])
        slope = np.linalg.lstsq(design, scm.table["total_ms"].to_numpy(), rcond=None)[0][1]
        assert effect.value == pytest.approx(slope, abs=0.05)

    def test_missing_values_and_their_nodes_are_no_confounders(self) -> None:
        table = linear_chain()
        table.loc[::5, "Y"] = np.nan
        fitter = SCMFitter(missing="model", on_failure="return", random_seed=0)
        effect = fitter.fit(nx.DiGraph([("X", "Y"), ("Y", "Z")]), table).trust().effect("Y", "Z")
        assert effect.adjustment == ()
        assert effect.value == pytest.approx(3, abs=0.1)


class TestSize:
    def test_cohens_d_is_the_difference_in_standard_deviations_of_the_outcome(self) -> None:
        rng = np.random.default_rng(0)
        x, noise = rng.normal(size=(2, 4000))
        scm = _fit(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": 3 * x + 4 * noise}))
        shifted, switched = scm.effect("x", "y"), scm.effect("x", "y", values=(0, 1))
        # A shift leaves what x does to the spread; setting x takes it away.
        for effect, truth in ((shifted, 3 / 5), (switched, 3 / 4)):
            assert effect.cohens_d == pytest.approx(truth, abs=0.06)
            assert effect.d_interval[0] < truth < effect.d_interval[1]

    def test_two_arms_of_different_spread_are_pooled_by_their_variance(self) -> None:
        rng = np.random.default_rng(0)
        on = rng.random(3000) < 0.5
        table = pd.DataFrame({"on": on, "y": 5.0 * on + rng.normal(size=3000)})
        effect = _fit(nx.DiGraph([("on", "y")]), table).effect("on", "y")
        assert effect.cohens_d == pytest.approx(5, abs=0.3)

    def test_without_spread_there_is_nothing_to_measure_by(self) -> None:
        code = "def y(x): return 2 * x"
        scm = SCMFitter(random_seed=0).fit_static(nx.DiGraph([("x", "y")]), code)
        effect = scm.effect("x", "y", values=(0, 1))
        assert effect.value == pytest.approx(2)
        assert np.isnan([effect.cohens_d, *effect.d_interval]).all()
        assert np.isfinite(scm.effect("x", "y").cohens_d)


class TestWords:
    def test_an_observational_effect_says_what_would_explain_it_away(self, scm: FittedSCM) -> None:
        effect = scm.effect("search_ms", "total_ms")
        assert effect.robustness is not None
        share = f"{effect.robustness:.0%}".replace("%", " %")
        told = [caveat for caveat in effect.caveats if f"common cause that explains {share} of" in caveat]
        assert len(told) == 1
        assert any("was not set at random" in caveat for caveat in effect.caveats)

    def test_a_knob_has_no_hidden_cause(self, scm: FittedSCM) -> None:
        effect = scm.effect("depth", "total_ms")
        assert (effect.adjustment, effect.robustness, effect.robustness_interval_edge) == ((), None, None)
        assert not any("common cause" in caveat for caveat in effect.caveats)

    def test_without_a_way_in_the_graph_the_effect_is_nought_and_says_why(self, scm: FittedSCM) -> None:
        effect = scm.effect("rank_ms", "search_ms")
        assert (effect.value, effect.interval, effect.cohens_d) == (0, (0, 0), 0)
        assert (effect.adjustment, effect.robustness) == (None, None)
        assert "no way from rank_ms to search_ms" in effect.sentence

    def test_the_frame_holds_every_number(self, scm: FittedSCM) -> None:
        effect = scm.effect("search_ms", "total_ms")
        row = effect.to_frame().iloc[0]
        assert (row["cohens_d"], row["d_low"], row["d_high"]) == (effect.cohens_d, *effect.d_interval)
        assert row["robustness"] == effect.robustness
        assert EffectResult("a", "b", "do(a +1)", 1.0, (0, 2), True, []).to_frame()["robustness"].tolist() == [None]


class TestRefusals:
    @pytest.mark.parametrize(
        ("treatment", "outcome", "settings", "match"),
        [
            ("dept", "total_ms", {}, "'dept' is no node"),
            ("depth", "latency", {}, "'latency' is no node"),
            ("total_ms", "rank_ms", {}, "made of its parts"),
            ("depth", "depth", {}, "both treatment and outcome"),
            ("depth", "total_ms", {"contrast": float("nan")}, "cannot be set to"),
            ("depth", "total_ms", {"values": "12"}, "two settings"),
            ("depth", "total_ms", {"values": [[1], [2]]}, "'depth'"),
            ("depth", "total_ms", {"values": [1, [2, 3]]}, "'depth'"),
            ("depth", "total_ms", {"values": ("1", "2")}, "cannot be set to '1'"),
            ("depth", "total_ms", {"values": (1, float("nan"))}, "cannot be set to nan"),
        ],
    )
    def test_what_cannot_be_asked_is_refused_by_name(
        self, scm: FittedSCM, treatment: str, outcome: str, settings: dict[str, Any], match: str
    ) -> None:
        with pytest.raises(GraphError, match=match) as caught:
            scm.effect(treatment, outcome, **settings)
        assert caught.value.node in {treatment, outcome}

    def test_a_share_of_the_treatments_own_labels_is_no_outcome(self) -> None:
        scm = _labels(np.random.default_rng(0))[0]
        with pytest.raises(GraphError, match="both treatment and outcome"):
            scm.effect("mode", "mode=a", values=("a", "b"))

    def test_the_share_of_either_of_two_labels_can_be_asked_for(self) -> None:
        table = linear_chain()
        table["Z"] = np.where(table["Z"] + np.random.default_rng(0).normal(size=1000) > 0, "up", "down")
        scm = _fit(nx.DiGraph([("X", "Y"), ("Y", "Z")]), table)
        up, down = (scm.effect("X", f"Z={label}") for label in ("up", "down"))
        assert up.value == pytest.approx(-down.value)
        assert up.value > 0.1
        assert up.cohens_d == pytest.approx(-down.cohens_d)


def _noise(rng: np.random.Generator) -> np.ndarray:
    return np.sqrt(0.5) * (rng.normal(size=CLUSTERS[-1] + 1)[CLUSTERS] + rng.normal(size=ROWS))


def _odds(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _shares(values: np.ndarray) -> np.ndarray:
    powers = np.exp(np.stack([0 * values, 0.8 * values, 1.4 * values - 0.5]))
    return powers / powers.sum(axis=0)


def _drawn(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return (rng.random(len(values)) > np.cumsum(_shares(values), axis=0)[:-1]).sum(axis=0)


def _through_a_truth_value(rng: np.random.Generator) -> tuple[FittedSCM, dict[str, Any], float]:
    t = _noise(rng)
    hit = rng.random(ROWS) < _odds(1.2 * t - 0.3)
    table = pd.DataFrame({"g": CLUSTERS, "t": t, "hit": hit, "y": 3 * hit + t + _noise(rng)})
    truth = 1 + 3 * np.mean(_odds(1.2 * NORMAL + 0.9) - _odds(1.2 * NORMAL - 0.3))
    return _fit(nx.DiGraph([("t", "hit"), ("hit", "y"), ("t", "y")]), table, groups="g"), {"treatment": "t"}, truth


def _through_labels(rng: np.random.Generator) -> tuple[FittedSCM, dict[str, Any], float]:
    t = _noise(rng)
    mode = _drawn(rng, t)
    table = pd.DataFrame({"g": CLUSTERS, "t": t, "mode": np.array(list("abc"))[mode]})
    table["y"] = MEANS[mode] + t + _noise(rng)
    truth = 1 + np.mean(MEANS @ (_shares(NORMAL + 1) - _shares(NORMAL)))
    return _fit(nx.DiGraph([("t", "mode"), ("mode", "y"), ("t", "y")]), table, groups="g"), {"treatment": "t"}, truth


def _through_whole_numbers(rng: np.random.Generator) -> tuple[FittedSCM, dict[str, Any], float]:
    depth = rng.integers(1, 9, ROWS)
    hits = np.round(2 * depth + 3 * _noise(rng))
    table = pd.DataFrame({"g": CLUSTERS, "depth": depth, "hits": hits, "y": 4 * hits + 10 * _noise(rng)})
    return _fit(nx.DiGraph([("depth", "hits"), ("hits", "y")]), table, groups="g"), {"treatment": "depth"}, 8.0


def _of_a_switch(rng: np.random.Generator) -> tuple[FittedSCM, dict[str, Any], float]:
    z = _noise(rng)
    on = rng.random(ROWS) < _odds(z)
    x = 2 * on + z + _noise(rng)
    table = pd.DataFrame({"g": CLUSTERS, "z": z, "on": on, "x": x, "y": 1.5 * x + z + 3 * _noise(rng)})
    graph = nx.DiGraph([("z", "on"), ("z", "x"), ("on", "x"), ("x", "y"), ("z", "y")])
    return _fit(graph, table, groups="g"), {"treatment": "on"}, 3.0


def _labels(rng: np.random.Generator) -> tuple[FittedSCM, dict[str, Any], float]:
    z = _noise(rng)
    mode = _drawn(rng, z)
    table = pd.DataFrame({"g": CLUSTERS, "z": z, "mode": np.array(list("abc"))[mode]})
    table["y"] = MEANS[mode] + z + 3 * _noise(rng)
    graph = nx.DiGraph([("z", "mode"), ("mode", "y"), ("z", "y")])
    return _fit(graph, table, groups="g"), {"treatment": "mode", "values": ("a", "c")}, 5.0


def _of_few_groups(rng: np.random.Generator) -> tuple[FittedSCM, dict[str, Any], float]:
    scm = _fit(SERVICE.graph, SERVICE.table(rng, 180), groups="question")
    return scm, {"treatment": "depth", "outcome": "total_ms"}, SERVICE.effect_of_depth


WAYS: dict[str, Callable[[np.random.Generator], tuple[FittedSCM, dict[str, Any], float]]] = {
    "through a truth value": _through_a_truth_value,
    "through labels": _through_labels,
    "through whole numbers": _through_whole_numbers,
    "of a switch": _of_a_switch,
    "of labels": _labels,
    "of 15 groups": _of_few_groups,
}


@pytest.mark.parametrize("way", WAYS)
def test_intervals_hold_the_truth(way: str, proof: bool) -> None:
    held = []
    for seed in range(200 if proof else 3):
        scm, question, truth = WAYS[way](np.random.default_rng(seed))
        low, high = scm.effect(**{"outcome": "y", **question}).interval
        held.append(low <= truth <= high)
    share = np.mean(held)
    print(way, round(float(share), 3))
    assert (0.90 <= share <= 0.985) if proof else (share >= fewest(0.94, len(held)))


@pytest.mark.parametrize(
    ("table", "edges", "question"),
    [
        (complex_dag(), [("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")], ("A", "D", 0.0, 1.0)),
        (nonlinear(), [("X", "Y")], ("X", "Y", 1.0, 2.0)),
    ],
    ids=["linear", "quadratic"],
)
def test_dowhy_gives_the_same_effect(
    table: pd.DataFrame, edges: list[Any], question: tuple[str, str, Any, Any]
) -> None:
    gcm = pytest.importorskip("dowhy").gcm
    treatment, outcome, low, high = question
    scm = _fit(nx.DiGraph(edges), table)
    effect = scm.effect(treatment, outcome, values=(low, high))
    theirs = gcm.average_causal_effect(
        scm.dowhy,
        outcome,
        interventions_alternative={treatment: lambda _: high},
        interventions_reference={treatment: lambda _: low},
        num_samples_to_draw=20_000,
    )
    noise = 2 * table[outcome].std() / np.sqrt(20_000)
    assert theirs == pytest.approx(effect.value, abs=4 * noise)
