"""What an intervention leads to: whole distributions, some runs only, and the answer as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.stats import norm, truncnorm

from causalkit.errors import FitError, GraphError, ModelFormatError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.interventions import Formula, Scale, Shift
from causalkit.scm.model import FittedSCM
from causalkit.scm.questions import InterventionResult
from tests.truth import fewest

# Two correlated roots, of which one is a cause of the condition and the other of treatment and outcome.
GRAPH = nx.DiGraph([("u", "z"), ("w", "x"), ("x", "y"), ("z", "y"), ("w", "y")])
WITHIN = (0.5, 2.0)
REACHED = 0.92


def _table(seed: int, num_rows: int = 600) -> pd.DataFrame:
    u, w_noise, z_noise, x_noise, y_noise = np.random.default_rng(seed).normal(size=(5, num_rows))
    w = 0.8 * u + 0.6 * w_noise
    z, x = u + z_noise, 0.5 * w + x_noise
    return pd.DataFrame({"u": u, "w": w, "z": z, "x": x, "y": 2 * x + 3 * z - w + y_noise})


@cache
def _fit(seed: int) -> FittedSCM:
    return SCMFitter(on_failure="return", random_seed=seed).fit(GRAPH, _table(seed)).trust()


def _mean_within(scale: float) -> float:
    """The mean of a normal variable with mean 0 where it lies within the range asked about."""
    return float(truncnorm.mean(WITHIN[0] / scale, WITHIN[1] / scale, scale=scale))


# E[w | z] = 0.4 z and E[w | u] = 0.8 u.
CONDITIONS: dict[str, tuple[dict[str, Any], float]] = {
    "an effect of a root": ({"z": WITHIN}, 2 + 2.6 * _mean_within(2**0.5)),
    "a root that goes with another": ({"u": WITHIN}, 2 + 2.2 * _mean_within(1)),
}


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return _fit(0)


@pytest.fixture(scope="module")
def labels() -> FittedSCM:
    rng = np.random.default_rng(0)
    mode = rng.choice(["deep", "fast", "wide"], size=600)
    ok, size = rng.random(600) < np.where(mode == "deep", 0.9, 0.4), rng.normal(size=600)
    table = pd.DataFrame({"mode": mode, "size": size, "ok": ok, "ms": 5.0 * ok + 3 * size + rng.normal(size=600)})
    table.loc[rng.random(600) < 0.1, "ms"] = np.nan
    graph = nx.DiGraph([("mode", "ok"), ("ok", "ms"), ("size", "ms")])
    return SCMFitter(on_failure="return", missing="model", random_seed=0).fit(graph, table).trust()


class TestText:
    def test_text_and_mapping_ask_the_same(self, scm: FittedSCM) -> None:
        asked = {"x": 1, "w": Shift(2), "z": Scale(0.5)}
        as_text, as_mapping = (scm.intervene(done, 50) for done in ("do(x=1, w=w+2, z=z/2)", asked))
        assert_frame_equal(as_text.statistics, as_mapping.statistics)
        assert as_text.sentence == as_mapping.sentence

    def test_a_formula_is_applied_and_told_as_it_was_written(self, scm: FittedSCM) -> None:
        result = scm.intervene("do(x=max(x, 1))")
        assert result.samples["x"].to_numpy() == pytest.approx(np.maximum(result.baseline["x"], 1))
        assert result.sentence.startswith("Under do(x = max(x, 1)) the mean of y")

    def test_counterfactuals_take_text(self, scm: FittedSCM) -> None:
        rows = _table(1).head(3)
        found = scm.counterfactual(rows, "x = x + 1").to_frame()
        assert (found["x"] - rows["x"]).to_numpy() == pytest.approx(1)

    def test_a_formula_that_leaves_the_numbers_is_told_by_its_text(self, scm: FittedSCM) -> None:
        with pytest.raises(GraphError, match=r"log\(x\) gave missing or infinite"):
            scm.intervene("do(x=log(x))")


class TestSomeRunsOnly:
    @pytest.mark.parametrize("name", CONDITIONS)
    def test_means_and_their_intervals_hold_the_truth(self, name: str, proof: bool) -> None:
        given, truth = CONDITIONS[name]
        held, misses = [], []
        for seed in range(200 if proof else 10):
            of = _fit(seed).intervene({"x": 1.0}, 1, given=given).of("y")
            held.append(of["low"] <= truth <= of["high"])
            misses.append(of["mean"] - truth)
        print(name, np.mean(held), np.mean(misses), np.std(misses))
        assert np.mean(held) >= fewest(REACHED, len(held))
        assert abs(np.mean(misses)) < 4 * np.std(misses) / len(misses) ** 0.5

    def test_the_condition_and_its_causes_stay_as_recorded(self, scm: FittedSCM) -> None:
        result = scm.intervene({"x": 1.0}, 300, given={"z": WITHIN})
        assert result.samples["z"].between(*WITHIN).all()
        recorded = set(zip(scm.table["u"], scm.table["z"], strict=True))
        assert set(zip(result.samples["u"], result.samples["z"], strict=True)) <= recorded
        assert not set(result.samples["y"]) & set(scm.table["y"])
        assert "among runs with z 0.5 to 2 the mean of y" in result.sentence

    def test_no_condition_is_a_question_about_all(self, scm: FittedSCM) -> None:
        assert_frame_equal(scm.intervene({"x": 1}, 9, given={}).statistics, scm.intervene({"x": 1}, 9).statistics)

    def test_labels_are_conditions_and_tell_distributions_apart(self, labels: FittedSCM) -> None:
        result = labels.intervene("do(size=1)", given={"mode": "deep"})
        assert set(result.samples["mode"]) == {"deep"}
        assert result.of("ok")["mean"] == pytest.approx(0.9, abs=0.07)
        assert result.of("ms")["mean"] == pytest.approx(3 + 5 * 0.9, abs=0.5)

    def test_a_condition_on_a_value_that_may_be_missing_is_one_on_its_being_there(self, labels: FittedSCM) -> None:
        result = labels.intervene({}, given={"ms": (0.0, 5.0)})
        assert result.samples["ms"].between(0, 5).all()

    @pytest.mark.parametrize("node", ["x", "y"])
    def test_what_the_intervention_changes_is_no_condition(self, scm: FittedSCM, node: str) -> None:
        with pytest.raises(GraphError, match=r"is itself changed.*counterfactual") as caught:
            scm.intervene({"x": 1}, given={node: WITHIN})
        assert caught.value.node == node

    def test_too_few_runs_are_counted(self, scm: FittedSCM) -> None:
        with pytest.raises(FitError, match=r"2 of 600 rows have z 0 to .* too few") as caught:
            scm.intervene({"x": 1}, given={"z": (0, float(scm.table["z"][scm.table["z"] > 0].nsmallest(2).iloc[-1]))})
        assert caught.value.num_rows == 2

    @pytest.mark.parametrize(
        "given", [{"q": 1}, {"z": (2, 1)}, {"z": (1, 2, 3)}, {"z": None}, {"z": float("nan")}, {"z": "a"}, {"z": True}]
    )
    def test_a_condition_that_is_none_is_refused(self, scm: FittedSCM, given: Mapping[str, Any]) -> None:
        with pytest.raises(GraphError, match=r"is no node|cannot be given as"):
            scm.intervene({"x": 1}, given=given)

    @pytest.mark.parametrize("label", ["slow", ("deep", "fast"), 7])
    def test_an_unknown_label_is_no_condition(self, labels: FittedSCM, label: Any) -> None:
        with pytest.raises(GraphError, match="'mode' is never"):
            labels.intervene({"size": 1}, given={"mode": label})

    def test_runs_of_few_groups_carry_a_caveat(self) -> None:
        table = _table(0).assign(g=np.arange(600) % 60)
        scm = SCMFitter(groups="g", on_failure="return", random_seed=0).fit(GRAPH, table.assign(u=table["g"])).trust()
        caveats = scm.intervene({"x": 1}, given={"u": (0, 4)}).caveats
        assert any("of 5 independent groups only" in caveat for caveat in caveats)


class TestDistribution:
    def test_intervals_of_spread_and_quantiles_hold_the_truth(self, proof: bool) -> None:
        # y = 2 x + 3 z - w + noise: under do(x = 1) normal around 2; -w and 3 z go together through u.
        after = (9 * 2 + 1 - 6 * 0.8 + 1) ** 0.5
        before = (4 * 1.25 + after**2 + 2 * 2 * 0.5 * (3 * 0.8 - 1)) ** 0.5
        levels = {"q05": norm.ppf(0.05), "q50": 0.0, "q95": norm.ppf(0.95)}
        truth = {"std": after, "std_change": after - before}
        truth |= {name: 2 + place * after for name, place in levels.items()}
        truth |= {f"{name}_change": 2 + place * (after - before) for name, place in levels.items()}
        held: dict[str, list[bool]] = {name: [] for name in truth}
        for seed in range(200 if proof else 6):
            of = _fit(seed).intervene({"x": 1.0}).distribution.loc["y"]
            for name, value in truth.items():
                held[name].append(bool(of[f"{name}_low"] <= value <= of[f"{name}_high"]))
        print({name: float(np.mean(held[name])) for name in held})
        for name in held:
            assert np.mean(held[name]) >= (0.90 if proof else fewest(REACHED, len(held[name]))), name

    def test_upstream_of_an_intervention_nothing_changes(self, scm: FittedSCM) -> None:
        of = scm.intervene({"x": 1.0}, 200).distribution.loc["z"]
        assert [of[f"{name}_change{end}"] for name in ("std", "q50") for end in ("", "_low", "_high")] == [0] * 6

    def test_what_is_set_has_no_spread(self, scm: FittedSCM) -> None:
        of = scm.intervene({"x": 1.0}, 200).distribution.loc["x"]
        assert [of[name] for name in ("std_low", "std_high", "q05_low", "q95_high")] == [0, 0, 1, 1]

    def test_the_baseline_is_told_as_the_intervention_is(self, scm: FittedSCM) -> None:
        result = scm.intervene({"x": 1.0}, 200)
        of, y = result.of("y"), result.baseline["y"]
        told = [of[f"baseline_{name}"] for name in ("std", "q05", "q50", "q95", "min", "max")]
        assert told == pytest.approx([y.std(), *y.quantile([0.05, 0.5, 0.95]), y.min(), y.max()])
        assert result.distribution.loc["y", "q50_change"] == pytest.approx(of["q50"] - of["baseline_q50"])

    def test_shares_of_labels_conditions_and_missing_values_are_no_obstacle(self, labels: FittedSCM) -> None:
        result = labels.intervene({"mode": "deep"}, 100, given={"size": (0.0, 3.0)})
        assert list(result.distribution.index) == list(result.statistics.index)
        assert np.isfinite(result.distribution.to_numpy()).all()


class TestJson:
    ASKED: Mapping[str, Any] = {
        "nothing": {},
        "numbers": {"x": 1, "w": np.float64(0.5)},
        "shift and scale": {"x": Shift(2), "w": Scale(0.5)},
        "text": "do(x=max(x, 1) - 1/3)",
    }

    @pytest.mark.parametrize("name", ASKED)
    def test_what_is_read_is_what_was_written(self, scm: FittedSCM, name: str) -> None:
        self._assert_same(scm.intervene(self.ASKED[name], 30, given={"z": WITHIN} if name == "text" else None))

    def test_labels_truth_values_and_missing_values_come_back(self, labels: FittedSCM) -> None:
        self._assert_same(labels.intervene({"mode": "deep"}, 200))
        self._assert_same(labels.intervene({"ok": True}, 200, given={"mode": "fast"}))

    def test_one_draw_has_no_spread_and_comes_back(self, scm: FittedSCM) -> None:
        self._assert_same(scm.intervene({"x": 1}, 1))

    def test_a_formula_of_a_node_in_backticks_comes_back(self) -> None:
        table = _table(0).rename(columns={"x": "the x"})
        graph = nx.relabel_nodes(GRAPH, {"x": "the x"})
        scm = SCMFitter(on_failure="return", random_seed=0).fit(graph, table).trust()
        read = self._assert_same(scm.intervene("`the x`=abs(`the x`)", 10))
        assert isinstance(read.interventions["the x"], Formula)

    def test_of_a_function_only_the_name_is_kept_and_it_says_so(self, scm: FittedSCM) -> None:
        def halved(values: np.ndarray) -> np.ndarray:
            return values / 2

        result = scm.intervene({"x": halved}, 10)
        read = InterventionResult.from_json(result.to_json())
        assert read.sentence == result.sentence
        with pytest.raises(GraphError, match="halved is known by its name only"):
            scm.intervene(read.interventions)

    @pytest.mark.parametrize("text", ["", "{}", "[1]", "null", "NaN", '{"kind": "causalkit.InterventionResult"}'])
    def test_other_text_is_no_result(self, text: str) -> None:
        with pytest.raises(ModelFormatError, match="no result of an intervention"):
            InterventionResult.from_json(text)

    @pytest.mark.parametrize(
        "harm",
        [
            {"interventions": {"x": {"set": 1, "shift": 2}}},
            {"interventions": {"x": {}}},
            {"interventions": {"x": {"formula": "__import__('os')"}}},
            {"samples": {"x": {"type": "numbers", "values": [1.0]}, "y": {"type": "numbers", "values": []}}},
            {"samples": {"x": {"type": "numbers", "values": ["a"]}}},
            {"statistics": {"columns": ["mean"], "rows": {"x": [1.0, 2.0]}}},
            {"more": 1},
        ],
    )
    def test_a_damaged_result_is_refused(self, scm: FittedSCM, harm: Mapping[str, Any]) -> None:
        written = json.loads(scm.intervene({"x": 1}, 2).to_json())
        with pytest.raises(ModelFormatError, match="no result of an intervention"):
            InterventionResult.from_json(json.dumps({**written, **harm}))

    def _assert_same(self, result: InterventionResult) -> InterventionResult:
        def refuse(token: str) -> None:
            raise AssertionError(token)

        text = result.to_json()
        json.loads(text, parse_constant=refuse)
        read = InterventionResult.from_json(text)
        for name in ("samples", "baseline", "statistics", "distribution"):
            assert_frame_equal(getattr(read, name), getattr(result, name))
        assert (read.interventions, read.given) == (result.interventions, result.given)
        assert (read.outcome, read.caveats, read.sentence) == (result.outcome, result.caveats, result.sentence)
        assert read.to_json() == text
        return read


def test_a_function_that_fails_is_named_with_what_it_said(scm: FittedSCM) -> None:
    def broken(values: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(GraphError, match=r"broken failed .*ZeroDivisionError"):
        scm.intervene({scm.order[0]: broken})


def test_a_condition_that_is_no_mapping_is_refused(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match="given is 'load>3'"):
        scm.intervene({scm.order[0]: 1.0}, given="load>3")
