"""The reference recipes, and what is refused before a model is fitted."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import FitError, GraphError, InsufficientDataError, ValidationError
from causalkit.scm.fitter import SCMFitter, ValidationWarning
from tests import truth

LINE = nx.DiGraph([("X", "Y")])
FITTER = SCMFitter(random_seed=42)


def _summed() -> tuple[nx.DiGraph, pd.DataFrame]:
    table = truth.linear_chain(400)
    table["total"] = table["X"] + table["Y"]
    graph = nx.DiGraph([("X", "Y"), ("X", "total"), ("Y", "total")])
    graph.nodes["total"]["derived"] = "sum"
    return graph, table


def test_linear_chain_recovers_both_coefficients() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Y"), ("Y", "Z")]), truth.linear_chain())
    mechanisms = scm.to_dict()["mechanisms"]
    assert mechanisms["Y"]["coefficients"]["X"] == pytest.approx(2, abs=0.05)
    assert mechanisms["Z"]["coefficients"]["Y"] == pytest.approx(3, abs=0.05)
    assert min(scm.report.r2_scores.values()) > 0.95
    assert scm.report.passed


def test_multi_parent_recovers_the_coefficient_of_each_parent() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Z"), ("Y", "Z")]), truth.multi_parent())
    found = scm.to_dict()["mechanisms"]["Z"]
    assert found["type"] == "linear"
    assert found["coefficients"] == pytest.approx({"X": 1.5, "Y": 2.5}, abs=0.05)
    assert scm.report.r2_scores["Z"] > 0.95


def test_a_parabola_is_found_and_readable() -> None:
    scm = FITTER.fit(LINE, truth.nonlinear())
    found = scm.to_dict()["mechanisms"]["Y"]
    assert found["type"] == "polynomial"
    assert found["terms"]["X^2"] == pytest.approx(1, abs=0.05)
    assert found["terms"]["X"] == pytest.approx(0, abs=0.05)
    assert found["intercept"] == pytest.approx(0, abs=0.15)
    assert scm.report.r2_scores["Y"] > 0.9


def test_a_product_is_found_and_readable() -> None:
    table = truth.multi_parent()
    table["Z"] = table["Z"] + 0.5 * table["X"] * table["Y"]
    found = FITTER.fit(nx.DiGraph([("X", "Z"), ("Y", "Z")]), table).to_dict()["mechanisms"]["Z"]
    assert found["type"] == "polynomial"
    assert found["terms"]["X*Y"] == pytest.approx(0.5, abs=0.05)
    assert found["terms"]["X"] == pytest.approx(1.5, abs=0.05)


def test_too_few_rows_are_refused_with_their_number() -> None:
    with pytest.raises(InsufficientDataError, match=r"50 rows .* at least 100") as caught:
        FITTER.fit(LINE, truth.two_columns(0.1, 50))
    assert (caught.value.num_rows, caught.value.min_samples) == (50, 100)


def test_a_noisy_node_fails_by_name_near_its_theoretical_r2() -> None:
    with pytest.raises(ValidationError, match=r"Y \(R2 0\.\d\d\)") as caught:
        FITTER.fit(LINE, truth.two_columns(5.0))
    assert caught.value.failed_nodes == ("Y",)
    # 4 / 29 in the population; 200 held-out rows know it to about .05.
    assert caught.value.r2_scores["Y"] == pytest.approx(4 / 29, abs=0.15)
    assert caught.value.threshold == 0.7
    assert caught.value.scm.effect("X", "Y").value == pytest.approx(2, abs=0.7)


def test_one_noisy_node_is_not_hidden_by_good_ones() -> None:
    table = truth.linear_chain()
    table["W"] = table["Z"] + np.random.default_rng(1).normal(0, 40, len(table))
    with pytest.raises(ValidationError) as caught:
        FITTER.fit(nx.DiGraph([("X", "Y"), ("Y", "Z"), ("Z", "W")]), table)
    assert caught.value.failed_nodes == ("W",)


def test_a_node_predicted_without_error_is_told_as_a_possible_leak() -> None:
    scm = FITTER.fit(LINE, truth.two_columns(0.0))
    assert scm.report.r2_scores["Y"] == pytest.approx(1)
    assert any("Y is predicted without any error" in caveat for caveat in scm.report.caveats)


def test_missing_output_is_refused_by_name_and_count() -> None:
    table = truth.validation_function()
    count = table["output"].isna().sum()
    with pytest.raises(FitError, match=rf"missing in 'output' \({count} of 1000\)") as caught:
        FITTER.fit(nx.DiGraph([("input", "is_valid"), ("input", "output"), ("is_valid", "output")]), table)
    assert caught.value.column == "output"


def test_the_total_effect_in_a_diamond_is_recovered() -> None:
    diamond = nx.DiGraph([("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")])
    scm = FITTER.fit(diamond, truth.complex_dag())
    assert scm.effect("A", "D").value == pytest.approx(2.75, abs=0.05)
    assert min(scm.report.r2_scores.values()) > 0.99


def test_a_constant_node_is_no_failure_and_no_leak() -> None:
    table = truth.two_columns(0.1).assign(available=5.0)
    scm = FITTER.fit(nx.DiGraph([("X", "Y"), ("X", "available"), ("available", "Y")]), table)
    (score,) = (score for score in scm.report.scores if score.node == "available")
    assert (score.verdict, score.r2) == ("constant", pytest.approx(1))
    assert not any("available" in caveat for caveat in scm.report.caveats)


def test_a_graph_without_edges_or_nodes_is_a_model_with_nothing_to_judge() -> None:
    graph = nx.DiGraph()
    assert FITTER.fit(graph, truth.linear_chain()).report.passed
    graph.add_nodes_from("XY")
    assert FITTER.fit(graph, truth.linear_chain()).report.scores == ()


def test_on_failure_warn_gives_the_model_and_says_which_node() -> None:
    with pytest.warns(ValidationWarning, match="Y"):
        scm = SCMFitter(on_failure="warn", random_seed=0).fit(LINE, truth.two_columns(5.0))
    assert scm.report.failed_nodes == ("Y",)


def test_a_cycle_is_named() -> None:
    with pytest.raises(GraphError, match="X -> Y -> X") as caught:
        FITTER.fit(nx.DiGraph([("X", "Y"), ("Y", "X")]), truth.linear_chain())
    assert caught.value.cycle == ["X", "Y", "X"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("quality", "GREAT"), ("on_failure", "ignore"), ("test_size", 0), ("test_size", 1.0), ("test_size", float("nan"))],
)
def test_a_wrong_option_is_named_with_its_value(option: str, value: Any) -> None:
    with pytest.raises(FitError, match=f"{option} is {value!r}"):
        SCMFitter(**{option: value})


def test_a_groups_column_that_is_missing_or_doubled_is_named() -> None:
    table = truth.linear_chain()
    with pytest.raises(FitError, match="no column 'question'") as caught:
        SCMFitter(groups="question").fit(LINE, table)
    assert caught.value.column == "question"
    doubled = pd.concat([table, *[pd.Series(0, table.index, name="question")] * 2], axis=1)
    with pytest.raises(FitError, match="more than one column 'question'"):
        SCMFitter(groups="question").fit(LINE, doubled)


@pytest.mark.parametrize("absent", [np.nan, None])
def test_a_row_without_its_group_is_named(absent: Any) -> None:
    names = pd.Series([f"q{row % 90}" for row in range(1000)], dtype=object)
    names[7] = absent
    with pytest.raises(FitError, match=r"'question'.*row 7 \(1 of 1000") as caught:
        SCMFitter(groups="question").fit(LINE, truth.linear_chain().assign(question=names))
    assert (caught.value.column, caught.value.row) == ("question", 7)


@pytest.mark.parametrize("num_groups", [1, 2])
def test_too_few_groups_to_hold_one_out_are_refused(num_groups: int) -> None:
    table = truth.linear_chain().assign(question=np.arange(1000) % num_groups)
    with pytest.raises(InsufficientDataError, match="more groups") as caught:
        SCMFitter(groups="question").fit(LINE, table)
    assert caught.value.num_rows == 1000


@pytest.mark.parametrize("num_rows", [0, 1, 39])
def test_no_option_lets_through_what_cannot_be_judged(num_rows: int) -> None:
    with pytest.raises(InsufficientDataError) as caught:
        SCMFitter(min_samples=0).fit(LINE, truth.linear_chain().head(num_rows))
    assert caught.value.num_rows == num_rows


def test_groups_are_never_on_both_sides_of_the_split() -> None:
    """A node that is a group's own number cannot be predicted for groups that were not seen."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"question": np.repeat(np.arange(40), 25)})
    table["X"] = np.repeat(rng.normal(size=40), 25)
    table["Y"] = np.repeat(rng.normal(size=40), 25)
    scm = SCMFitter(groups="question", on_failure="return", random_seed=0).fit(LINE, table)
    assert scm.report.failed_nodes == ("Y",)
    assert scm.report.split == "question"


def test_a_derived_node_needs_parents_and_a_known_formula() -> None:
    graph, table = _summed()
    with pytest.raises(GraphError, match="'X' has no parents") as caught:
        FITTER.fit(graph, table, derived={"X": "sum"})
    assert caught.value.node == "X"
    with pytest.raises(GraphError, match=r"'product'.*sum and max"):
        FITTER.fit(graph, table, derived={"Y": "product"})


def test_a_declared_sum_that_is_none_is_named_with_its_worst_row() -> None:
    graph, table = _summed()
    table.loc[17, "total"] += 3
    with pytest.raises(FitError, match=r"'total' is declared as the sum.*row 17") as caught:
        FITTER.fit(graph, table)
    assert (caught.value.column, caught.value.row) == ("total", 17)


def test_a_derived_node_is_its_formula_and_not_judged() -> None:
    graph, table = _summed()
    scm = FITTER.fit(graph, table)
    assert scm.to_dict()["mechanisms"]["total"]["formula"] == "sum(X, Y)"
    assert set(scm.report.r2_scores) == {"Y"}
    drawn = scm.sample(50)
    assert np.allclose(drawn["total"], drawn["X"] + drawn["Y"])
