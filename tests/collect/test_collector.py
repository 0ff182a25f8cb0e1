from __future__ import annotations

import copy
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.collect.collector import TraceCollector, collect_traces
from causalkit.errors import ExecutionError, GraphError, TraceCollectionError

CHAIN = [("x", "y"), ("y", "z")]
CODE = {"y": "def y(x): return 2 * x", "z": "def z(y): return y + 1"}


def collect(edges: list[tuple[str, str]], code: dict[str, Any], *args: Any, **options: Any) -> pd.DataFrame:
    return collect_traces(nx.DiGraph(edges), code, *args, **{"random_seed": 5, "progress": False} | options)


def one_child(function: Any, num_samples: int = 6, **options: Any) -> pd.DataFrame:
    """Trace x -> y where x counts 0, 1, 2, ..."""
    counting = {"x": lambda generator, size: range(size)}
    return collect([("x", "y")], {"y": function}, num_samples, counting, **options)


def test_values_travel_along_the_graph() -> None:
    traces = collect(CHAIN, CODE, 50, {"x": (1, 9)})
    assert traces.columns.tolist() == ["x", "y", "z"]
    assert (traces["z"] == 2 * traces["x"] + 1).all()
    assert traces.index.tolist() == list(range(50))


def test_a_root_function_is_called_for_every_row() -> None:
    counter = iter(range(100))
    traces = collect([("x", "y")], {"x": lambda: next(counter), "y": lambda x: -x}, 4)
    assert traces["y"].tolist() == [0, -1, -2, -3]
    assert traces.attrs["default_ranges"] == []


def test_parents_reach_parameters_of_other_names_through_the_map() -> None:
    edges = [("a", "y"), ("b", "y")]
    traces = collect(edges, {"y": lambda p, q: p - q}, parameter_map={"y": {"p": "b", "q": "a"}})
    assert np.allclose(traces["y"], traces["b"] - traces["a"])


@settings(max_examples=20, deadline=None)
@given(st.permutations([*CHAIN, ("x", "w"), ("v", "w")]), st.permutations("vwxyz"))
def test_the_same_seed_gives_the_same_table_under_any_order_of_nodes_and_edges(
    edges: list[tuple[str, str]], nodes: list[str]
) -> None:
    code = {**CODE, "w": "def w(v, x): return v - x"}
    first = collect([*CHAIN, ("x", "w"), ("v", "w")], code, 5)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    again = TraceCollector(random_seed=5).collect_traces(
        graph, {name: code[name] for name in nodes if name in code}, 5, progress=False
    )
    pd.testing.assert_frame_equal(first, again)


def test_a_node_with_parents_but_no_function_is_named() -> None:
    with pytest.raises(TraceCollectionError, match=r"'z'.*'y'") as caught:
        collect(CHAIN, {"y": CODE["y"]})
    assert caught.value.node == "z"


@pytest.mark.parametrize("option", ["function_code", "parameter_map"])
def test_code_or_a_map_for_an_unknown_node_is_refused(option: str) -> None:
    options: dict[str, Any] = {
        "function_code": CODE,
        option: {**CODE, "zz": {}} if option[0] == "f" else {"zz": {}},
    }
    with pytest.raises(TraceCollectionError, match="'zz'") as caught:
        collect_traces(nx.DiGraph(CHAIN), progress=False, **options)
    assert caught.value.node == "zz"


def test_a_map_for_a_node_without_a_function_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match="'x'"):
        collect(CHAIN, CODE, parameter_map={"x": {}})


def test_function_code_that_is_one_text_is_told_to_be_a_mapping() -> None:
    with pytest.raises(TraceCollectionError, match="function_code"):
        collect(CHAIN, "def y(x): return x")  # type: ignore[arg-type]


def test_a_range_for_a_computed_node_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match="'y'"):
        collect(CHAIN, CODE, 3, {"y": (0, 1)})


def test_a_cyclic_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="x -> y -> x"):
        collect([("x", "y"), ("y", "x")], {})


@pytest.mark.parametrize(
    "options",
    [{"num_samples": 0}, {"max_failure_rate": 1.5}, {"max_failure_rate": float("nan")}, {"nan": "drop"}],
)
def test_an_option_out_of_its_values_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(TraceCollectionError, match=next(iter(options))) as caught:
        collect(CHAIN, CODE, **options)
    assert caught.value.parameter == next(iter(options))


def test_an_empty_graph_gives_rows_without_columns() -> None:
    assert collect([], {}, 7).shape == (7, 0)


def test_failed_rows_are_left_out_and_told_with_their_inputs() -> None:
    traces = one_child(lambda x: 1 / (x - 2))
    assert traces.index.tolist() == [0, 1, 3, 4, 5]
    assert traces.attrs["failures"] == [
        {
            "row": 2,
            "node": "y",
            "exception": "ZeroDivisionError",
            "message": "division by zero",
            "inputs": {"x": 2},
        }
    ]
    assert traces.attrs["num_failed"] == 1
    assert "1 of 6 rows failed" in traces.attrs["caveats"][0]


def test_the_failures_are_a_frame_when_asked_for() -> None:
    frame = one_child(lambda x: 1 / (x - 2)).attrs["failures"].to_frame()
    columns = ["row", "node", "exception", "message", "inputs"]
    assert frame.columns.tolist() == columns
    assert len(frame) == 1
    assert one_child(lambda x: x).attrs["failures"].to_frame().columns.tolist() == columns


def test_a_table_without_failures_says_so() -> None:
    attrs = collect(CHAIN, CODE).attrs
    assert (attrs["failures"], attrs["num_failed"], attrs["caveats"]) == ([], 0, [])
    assert (attrs["random_seed"], attrs["default_ranges"]) == (5, ["x"])


def test_the_table_with_failures_can_be_cut_copied_joined_and_shown() -> None:
    traces = one_child(lambda x: 1 / (x - 2))
    for other in (traces.copy(), traces[["x"]], traces.head(), copy.deepcopy(traces), traces.query("x > 1")):
        assert other.attrs["failures"] == traces.attrs["failures"]
    assert pd.concat([traces, traces.copy()]).attrs == traces.attrs
    assert "x" in repr(traces)
    assert "x" in traces.to_html()


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT])
def test_a_missing_result_fails_its_row_or_is_kept_when_asked(missing: Any) -> None:
    def sometimes(x: int) -> Any:
        return missing if x == 2 else x

    (failure,) = one_child(sometimes).attrs["failures"]
    assert failure["exception"] == "MissingResult"
    assert 'nan="keep"' in failure["message"]
    kept = one_child(sometimes, nan="keep")
    assert kept["y"].isna().tolist() == [False, False, True, False, False, False]
    assert kept.attrs["failures"] == []


def test_a_result_that_is_no_number_bool_or_text_fails_its_row() -> None:
    (failure,) = one_child(lambda x: [x] if x == 2 else x).attrs["failures"]
    assert failure["exception"] == "UnusableResult"
    assert "list" in failure["message"]


def test_numpy_results_become_plain_values() -> None:
    seen = []

    def remember(y: Any) -> int:
        seen.append(type(y))
        return 0

    code = {"y": lambda x: np.where(x > 0, np.float32(1), np.float32(2)), "z": remember}
    traces = collect(CHAIN, code, 3)
    assert set(seen) == {float}
    assert traces["y"].dtype == float


def test_leaving_the_program_only_fails_the_row() -> None:
    def leave(x: int) -> int:
        if x == 1:
            raise SystemExit(3)
        return x

    assert one_child(leave).attrs["failures"][0]["exception"] == "SystemExit"


def test_an_interrupt_from_the_keyboard_passes_through() -> None:
    def interrupt(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_child(interrupt)


def test_an_error_that_cannot_be_printed_still_becomes_a_failure() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail(x: int) -> int:
        if x == 1:
            raise MuteError
        return x

    assert one_child(fail).attrs["failures"][0]["exception"] == "MuteError"


def test_too_many_failures_are_counted_by_node_and_exception() -> None:
    with pytest.raises(ExecutionError, match=r"4 of 6 rows.*'y': 4 x ZeroDivisionError") as caught:
        one_child(lambda x: 1 / max(x - 3, 0))
    assert caught.value.failure_rate == pytest.approx(4 / 6)
    assert [failure["row"] for failure in caught.value.failures] == [0, 1, 2, 3]


def test_all_rows_may_fail_when_that_is_allowed() -> None:
    traces = one_child(lambda x: 1 / 0, max_failure_rate=1.0)
    assert traces.shape == (0, 2)


def test_the_bar_stays_away_from_short_runs(capsys: pytest.CaptureFixture[str]) -> None:
    one_child(lambda x: x, progress=True)
    assert capsys.readouterr().err == ""
