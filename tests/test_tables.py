from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import FitError
from causalkit.tables import check_table, decode, find_levels

GRAPH = nx.DiGraph([("x", "y")])
TABLE = pd.DataFrame({"x": [1, 2, 3, 4], "y": [0.5, 1.0, 1.5, 2.0], "note": list("abcd")}, index=[10, 11, 12, 13])


def _with(values: list[Any]) -> pd.DataFrame:
    return TABLE.assign(x=pd.Series(values, index=TABLE.index))


def test_columns_of_the_graph_come_back_as_floats_and_others_are_left_out() -> None:
    checked = check_table(TABLE, GRAPH)
    assert list(checked) == ["x", "y"]
    assert {kind.kind for kind in checked.dtypes} == {"f"}
    assert list(checked.index) == [10, 11, 12, 13]


@pytest.mark.parametrize("kind", ["bool", "boolean"])
def test_booleans_are_nought_and_one(kind: str) -> None:
    checked = check_table(_with([True, False, True, True]).astype({"x": kind}), GRAPH)
    assert checked["x"].tolist() == [1, 0, 1, 1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_finite_numbers_come_through_unchanged(values: list[float]) -> None:
    assert check_table(_with(values), GRAPH)["x"].tolist() == values


def test_a_missing_column_is_named_beside_those_that_are_there() -> None:
    with pytest.raises(FitError, match=r"node 'x'; it has 'y', 'note'") as caught:
        check_table(TABLE.drop(columns="x"), GRAPH)
    assert caught.value.column == "x"


def test_labels_are_their_places_among_the_levels() -> None:
    table = _with(["slow", "fast", "fast", "mid"])
    assert find_levels(table, GRAPH) == {"x": ("fast", "mid", "slow")}
    assert check_table(table, GRAPH)["x"].tolist() == [2, 0, 0, 1]
    assert decode(check_table(table, GRAPH), find_levels(table, GRAPH))["x"].tolist() == ["slow", "fast", "fast", "mid"]


def test_text_that_looks_like_a_number_is_a_label() -> None:
    assert find_levels(_with(["007", "1", "2", "3"]), GRAPH) == {"x": ("007", "1", "2", "3")}


def test_a_category_keeps_its_own_order() -> None:
    sizes = pd.Categorical(["small", "large", "small", "large"], ["small", "large", "huge"], ordered=True)
    assert find_levels(TABLE.assign(x=sizes), GRAPH) == {"x": ("small", "large")}


def test_text_among_numbers_is_named_with_its_first_row_and_value() -> None:
    with pytest.raises(FitError, match=r"'x' mixes text with numbers: first in row 12 \('fast'\)") as caught:
        check_table(_with([1, 2, "fast", "slow"]), GRAPH)
    assert (caught.value.column, caught.value.row) == ("x", 12)


def test_free_text_is_no_category() -> None:
    texts = pd.DataFrame({"x": [f"question {number}" for number in range(60)], "y": range(60)})
    with pytest.raises(FitError, match="holds 60 different labels") as caught:
        check_table(texts, GRAPH)
    assert caught.value.column == "x"


def test_an_unknown_label_is_named_beside_the_known() -> None:
    with pytest.raises(FitError, match=r"not known: first in row 11 \('warm'\); known are 'cold', 'hot'"):
        check_table(_with(["hot", "warm", "cold", "hot"]), GRAPH, levels={"x": ("cold", "hot")})


@pytest.mark.parametrize("absent", [None, float("nan"), pd.NA])
def test_a_missing_value_is_named_with_its_row_and_how_many_there_are(absent: Any) -> None:
    with pytest.raises(FitError, match=r"missing in 'x' \(2 of 4\), first of 'x' in row 11") as caught:
        check_table(_with([1, absent, 3, absent]), GRAPH)
    assert (caught.value.column, caught.value.row) == ("x", 11)


@pytest.mark.parametrize("endless", [np.inf, -np.inf])
def test_an_infinite_value_is_named_with_its_row(endless: float) -> None:
    with pytest.raises(FitError, match=r"'x' is infinite: first in row 13 \(-?inf\)") as caught:
        check_table(_with([1, 2, 3, endless]), GRAPH)
    assert (caught.value.column, caught.value.row) == ("x", 13)


def test_a_column_that_is_there_twice_is_named() -> None:
    with pytest.raises(FitError, match="more than one column 'x'") as caught:
        check_table(pd.concat([TABLE, TABLE[["x"]]], axis=1), GRAPH)
    assert caught.value.column == "x"


@pytest.mark.parametrize("values", [pd.date_range("2026-01-01", periods=4), pd.to_timedelta(range(4)), [1j] * 4])
def test_times_and_complex_numbers_are_no_plain_numbers(values: Any) -> None:
    with pytest.raises(FitError, match=r"'x' holds (datetime|timedelta|complex)") as caught:
        check_table(_with(list(values)), GRAPH)
    assert caught.value.column == "x"


def test_what_is_no_table_is_named_by_its_type() -> None:
    with pytest.raises(FitError, match="not dict"):
        check_table({"x": [1]}, GRAPH)  # type: ignore[arg-type]


def test_the_callers_table_is_left_as_it_is() -> None:
    table = _with([True, False, True, True])
    checked = check_table(table, GRAPH)
    checked["x"] = 7.0
    assert table["x"].tolist() == [True, False, True, True]
