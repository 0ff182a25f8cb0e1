"""What is asked wrongly is refused in one sentence; what is asked rightly says what it knows."""

from __future__ import annotations

import json
import re
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import CausalkitError, FitError, GraphError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.interventions import Scale, Shift
from causalkit.scm.model import FittedSCM
from tests.truth import Service, linear_chain

SERVICE = Service()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return SERVICE.table(np.random.default_rng(0))


@pytest.fixture(scope="module")
def scm(table: pd.DataFrame) -> FittedSCM:
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(SERVICE.graph, table)


def test_an_unknown_node_is_named_beside_the_known_ones(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match=r"'dept' is no node.*depth") as caught:
        scm.intervene({"dept": 1})
    assert caught.value.node == "dept"


def test_a_derived_node_cannot_be_set_and_its_parts_are_named(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match="rank_ms, search_ms") as caught:
        scm.intervene({"total_ms": 1})
    assert caught.value.node == "total_ms"


@pytest.mark.parametrize(
    "value", ["8", None, float("nan"), float("inf"), [1], Shift(float("nan")), Scale(float("inf")), Shift("8")]
)
def test_what_a_node_cannot_be_set_to_is_shown(scm: FittedSCM, value: Any) -> None:
    with pytest.raises(GraphError, match="'depth' cannot be set to") as caught:
        scm.intervene({"depth": value})
    assert caught.value.node == "depth"


def test_a_function_has_to_give_one_finite_number_for_each_value(scm: FittedSCM) -> None:
    def first_three(values: np.ndarray) -> np.ndarray:
        return values[:3]

    def nothing(values: np.ndarray) -> np.ndarray:
        return values * np.nan

    with pytest.raises(GraphError, match="first_three gave an array of shape"):
        scm.intervene({"depth": first_three})
    with pytest.raises(GraphError, match="nothing gave missing"):
        scm.intervene({"depth": nothing})


@pytest.mark.parametrize("num_samples", [0, -1, 1.5])
def test_the_number_of_draws_is_a_whole_number(scm: FittedSCM, num_samples: Any) -> None:
    for ask in (lambda: scm.intervene({"depth": 1}, num_samples), lambda: scm.sample(num_samples)):
        with pytest.raises(CausalkitError, match="num_samples") as caught:
            ask()
        assert caught.value.num_samples == num_samples


@pytest.mark.parametrize("values", [(1,), (1, 2, 3), (), 4])
def test_an_effect_compares_two_values(scm: FittedSCM, values: Any) -> None:
    with pytest.raises(GraphError, match="two settings of 'depth'"):
        scm.effect("depth", "total_ms", values=values)


def test_treatment_and_outcome_have_to_be_nodes(scm: FittedSCM) -> None:
    for treatment, outcome in (("depth", "latency"), ("latency", "total_ms")):
        with pytest.raises(GraphError, match="'latency' is no node"):
            scm.effect(treatment, outcome)


def test_an_effect_of_nothing_on_a_node_upstream_is_nought(scm: FittedSCM) -> None:
    assert scm.effect("rank_ms", "search_ms").interval == (0, 0)


def test_two_values_are_the_same_as_a_shift_in_a_linear_model(scm: FittedSCM) -> None:
    shifted = scm.effect("depth", "total_ms", 3).value
    assert scm.effect("depth", "total_ms", values=(2, 5)).value == pytest.approx(shifted)


def test_setting_shifting_scaling_and_functions_agree_where_they_mean_the_same(scm: FittedSCM) -> None:
    mean = scm.intervene({"depth": 4}).of("rank_ms")["mean"]
    assert scm.intervene({"depth": lambda values: 0 * values + 4}).of("rank_ms")["mean"] == pytest.approx(mean)
    same = [scm.intervene({"depth": done}).of("rank_ms")["change"] for done in (Shift(0), Scale(1))]
    assert same == pytest.approx([0, 0], abs=1e-9)


def test_what_is_upstream_of_an_intervention_stays_as_it_is(scm: FittedSCM) -> None:
    result = scm.intervene({"search_ms": 10})
    assert result.of("depth")["change"] == 0
    assert (result.samples["search_ms"] == 10).all()
    assert result.samples["depth"].equals(result.baseline["depth"])


def test_caveats_tell_what_is_observational_and_what_was_never_recorded(scm: FittedSCM) -> None:
    assert not any("at random" in caveat for caveat in scm.intervene({"depth": 4}).caveats)
    caveats = scm.intervene({"load": 40}).caveats
    assert any("load was not set at random" in caveat for caveat in caveats)
    assert any("load = 40 was never recorded" in caveat for caveat in caveats)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Shift(1), r"do\(depth \+1\) takes 1[0-5] % of the runs outside what was recorded \(seen: 1 to 8\)"),
        (Shift(20), r"do\(depth \+20\) takes 100 % of the runs"),
        (Scale(2), r"do\(depth x 2\) takes [45][0-9] % of the runs"),
        (np.negative, r"do\(depth -> negative\(depth\)\) takes 100 % of the runs"),
        ("do(depth=depth**2)", r"do\(depth = depth\*\*2\) takes [67][0-9] % of the runs"),
        ("do(depth=9)", r"depth = 9 was never recorded \(seen: 1 to 8\)"),
    ],
)
def test_an_action_that_leaves_the_recorded_range_says_for_which_share_of_runs(
    scm: FittedSCM, action: Any, told: str
) -> None:
    asked = action if isinstance(action, str) else {"depth": action}
    (caveat,) = (caveat for caveat in scm.intervene(asked, 1).caveats if "extrapolation" in caveat)
    assert re.match(told, caveat)


@pytest.mark.parametrize("action", [Shift(0), Scale(1), lambda values: 9 - values, lambda values: values.clip(2, 4)])
def test_an_action_within_the_recorded_range_carries_no_such_caveat(scm: FittedSCM, action: Any) -> None:
    assert not any("extrapolation" in caveat for caveat in scm.intervene({"depth": action}, 1).caveats)


def test_a_shift_that_takes_one_run_in_a_thousand_outside_is_not_mentioned(scm: FittedSCM) -> None:
    assert not any("extrapolation" in caveat for caveat in scm.intervene({"load": Shift(0.01)}, 1).caveats)


def test_a_table_of_few_groups_carries_a_caveat() -> None:
    table = linear_chain().assign(question=np.arange(1000) % 10)
    scm = SCMFitter(groups="question", random_seed=0).fit(nx.DiGraph([("X", "Y")]), table)
    assert any("only 10 independent groups" in caveat for caveat in scm.effect("X", "Y").caveats)


def test_booleans_are_switched_on() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"cache": rng.random(1000) < 0.5})
    table["ms"] = 30 - 20 * table["cache"] + rng.normal(size=1000)
    scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("cache", "ms")]), table)
    effect = scm.effect("cache", "ms")
    assert effect.contrast == "do(cache = True) instead of False"
    assert effect.value == pytest.approx(-20, abs=0.5)
    assert scm.intervene({"cache": True}).of("ms")["mean"] == pytest.approx(10, abs=0.3)


def test_the_model_can_be_written_as_json(scm: FittedSCM) -> None:
    held = json.loads(json.dumps(scm.to_dict(), allow_nan=False))
    assert held["mechanisms"]["search_ms"]["coefficients"]["depth"] == pytest.approx(3, abs=0.5)
    assert held["validation"]["rule"] == "every"


def test_results_show_themselves_without_addresses_and_escaped(scm: FittedSCM, table: pd.DataFrame) -> None:
    results = [
        scm.intervene({"depth": 4}),
        scm.effect("depth", "total_ms"),
        scm.root_causes(table.head(50), "total_ms"),
        scm.backtest(table, by=["depth"], outcome="total_ms"),
    ]
    for result in results:
        assert " at 0x" not in repr(result)
        assert result.sentence in repr(result)
        assert "<script" not in result._repr_html_()
        assert isinstance(result.to_frame(), pd.DataFrame)


class TestBacktest:
    def test_settings_are_those_recorded_with_enough_rows(self, scm: FittedSCM, table: pd.DataFrame) -> None:
        few = pd.concat([table[table["depth"] > 2], table[table["depth"] == 1].head(5)])
        result = scm.backtest(few, by=["depth"], outcome="total_ms")
        assert list(result.frame["depth"]) == [3, 4, 5, 6, 7, 8]
        assert result.coverage == result.frame["covered"].mean()

    def test_a_setting_of_one_group_is_left_out_since_its_error_is_unknown(
        self, scm: FittedSCM, table: pd.DataFrame
    ) -> None:
        one = table.assign(depth=np.where(table["question"] == 0, 1.0, 8.0))
        assert list(scm.backtest(one, ["depth"], "total_ms", min_rows=5).frame["depth"]) == [8]

    def test_a_wrong_model_does_not_come_true(self, scm: FittedSCM) -> None:
        changed = Service(interaction=6.0).table(np.random.default_rng(1))
        assert scm.backtest(changed, by=["depth"], outcome="total_ms").coverage < 0.5

    def test_settings_of_a_node_that_is_no_knob_carry_a_caveat(self, scm: FittedSCM, table: pd.DataFrame) -> None:
        coarse = table.assign(load=table["load"].round())
        caveats = scm.backtest(coarse, by=["load"], outcome="total_ms").caveats
        assert any("load was not set at random" in caveat for caveat in caveats)

    def test_rows_without_their_groups_carry_a_caveat(self, scm: FittedSCM, table: pd.DataFrame) -> None:
        caveats = scm.backtest(table.drop(columns="question"), by=["depth"], outcome="total_ms").caveats
        assert any("question" in caveat and "independent" in caveat for caveat in caveats)

    def test_no_setting_with_enough_rows_says_so(self, scm: FittedSCM, table: pd.DataFrame) -> None:
        with pytest.raises(FitError, match="no setting of depth has 9999 rows"):
            scm.backtest(table, by=["depth"], outcome="total_ms", min_rows=9999)

    @pytest.mark.parametrize(("by", "outcome"), [([], "total_ms"), (["dept"], "total_ms"), (["depth"], "latency")])
    def test_settings_and_outcome_have_to_be_nodes(
        self, scm: FittedSCM, table: pd.DataFrame, by: list[str], outcome: str
    ) -> None:
        with pytest.raises(GraphError, match=r"names no node|is no node"):
            scm.backtest(table, by=by, outcome=outcome)

    def test_a_row_without_its_group_is_named(self, scm: FittedSCM, table: pd.DataFrame) -> None:
        torn = table.assign(question=table["question"].where(table.index != 3))
        with pytest.raises(FitError, match="'question'"):
            scm.backtest(torn, by=["depth"], outcome="total_ms")
