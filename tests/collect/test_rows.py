from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.collect.failures import FailedRows
from causalkit.collect.functions import bind_function
from causalkit.collect.rows import run_rows
from causalkit.errors import TraceCollectionError

PARENTS = {"x": [], "y": ["x"], "z": ["y"], "w": ["y"]}


def run(inputs: dict[str, list[Any]], **functions: Callable[..., Any]) -> tuple[pd.DataFrame, FailedRows]:
    bound = {node: bind_function(node, function, PARENTS[node]) for node, function in functions.items()}
    order = [node for node in "xyzw" if node in inputs or node in functions]
    return run_rows(order, bound, pd.DataFrame(inputs), keep_missing=False, progress=False, expand=True)


@dataclass
class Price:
    net: float
    tax: dict[str, float]


def test_a_record_becomes_one_column_a_field_also_within_records() -> None:
    table, _ = run({"x": [1, 2]}, y=lambda x: Price(x, {"rate": 0.5, "sum": x / 2}), z=lambda y: y.net + y.tax["sum"])
    assert table.to_dict("list") == {
        "x": [1, 2],
        "y.net": [1, 2],
        "y.tax.rate": [0.5, 0.5],
        "y.tax.sum": [0.5, 1.0],
        "z": [1.5, 3.0],
    }


def test_what_one_child_does_to_a_record_is_not_seen_by_its_sibling_or_the_table() -> None:
    def spoil(y: dict[str, int]) -> int:
        y["a"] = 99
        return 0

    table, _ = run({"x": [1]}, y=lambda x: {"a": x}, z=spoil, w=lambda y: y["a"])
    assert table.iloc[0].to_dict() == {"x": 1, "y.a": 1, "z": 0, "w": 1}


def test_a_function_that_returns_the_same_record_again_gives_each_row_its_own() -> None:
    record: dict[str, int] = {}

    def again(x: int) -> dict[str, int]:
        record["a"] = x
        return record

    assert run({"x": [1, 2, 3]}, y=again)[0]["y.a"].tolist() == [1, 2, 3]


def test_a_function_that_returns_the_same_array_again_gives_each_row_its_own() -> None:
    box = np.zeros(())

    def again(x: float) -> Any:
        box[()] = x
        return box

    assert run({"x": [1.0, 2.0, 3.0]}, y=again)[0]["y"].tolist() == [1, 2, 3]


def test_a_record_without_a_field_that_others_have_fails_its_row() -> None:
    table, (failure,) = run({"x": [0, 1, 2]}, y=lambda x: {"a": 1, "b": 2} if x else {"a": 1})
    assert table.index.tolist() == [1, 2]
    assert (failure["row"], failure["exception"]) == (0, "MissingResult")
    assert "y.b" in failure["message"]


@pytest.mark.parametrize("bad", [{"a": None}, {"a": [1]}, {}, [1]])
def test_a_record_with_a_value_that_no_cell_holds_fails_its_row(bad: Any) -> None:
    table, (failure,) = run({"x": [0, 1]}, y=lambda x: {"a": 1} if x else bad)
    assert len(table) == 1
    assert failure["node"] == "y"


def test_a_failing_child_of_a_record_is_told_with_the_fields() -> None:
    _, failures = run({"x": [2, 0]}, y=lambda x: {"a": x}, z=lambda y: 1 / y["a"])
    assert failures[0]["inputs"] == {"y.a": 0}


def test_a_field_named_like_a_node_is_refused() -> None:
    bound = {"y": bind_function("y", lambda: {"a": 1}, [])}
    with pytest.raises(TraceCollectionError, match=r"'y\.a'.*rename"):
        run_rows(["y.a", "y"], bound, pd.DataFrame({"y.a": [1]}), keep_missing=False, progress=False, expand=True)


def test_a_stop_iteration_fails_its_row_and_no_other() -> None:
    def stop(x: int) -> int:
        return next(iter([])) if x == 1 else x

    table, (failure,) = run({"x": [0, 1, 2, 3]}, y=stop)
    assert table["y"].tolist() == [0, 2, 3]
    assert failure["exception"] == "StopIteration"


def test_values_of_several_types_reach_the_children_as_they_are() -> None:
    seen: list[Any] = []
    values = [1, 2.5, True, "a", 2**80]
    run({"x": [0, 1, 2, 3, 4]}, y=lambda x: values[x], z=lambda y: seen.append(y) or 0)
    assert [(type(value), value) for value in seen] == [(type(value), value) for value in values]


OUTCOMES = st.sampled_from([0, 1, 2.5, -0.0, True, "a", 2**70, None, float("nan"), float("inf"), ValueError, [1]])


@settings(max_examples=100, deadline=None)
@given(st.lists(OUTCOMES, min_size=1, max_size=40))
def test_the_rows_are_those_of_a_plain_loop(outcomes: list[Any]) -> None:
    def outcome(x: int) -> Any:
        if outcomes[x] is ValueError:
            raise ValueError
        return outcomes[x]

    table, failures = run({"x": list(range(len(outcomes)))}, y=outcome, w=lambda y: y, z=lambda y: y)
    good = [row for row, value in enumerate(outcomes) if isinstance(value, bool | int | float | str) and value == value]
    assert table.index.tolist() == good
    assert [failure["row"] for failure in failures] == [row for row in range(len(outcomes)) if row not in good]
    assert table["y"].tolist() == pd.Series([outcomes[row] for row in good]).tolist()
