from __future__ import annotations

import copy
import hashlib
import random
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.code.graph import graph_from_code
from causalkit.collect.collector import TraceCollector, collect_traces
from causalkit.collect.failures import BiasedSampleWarning
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
    [
        {"num_samples": 0},
        {"max_failure_rate": 1.5},
        {"max_failure_rate": float("nan")},
        {"nan": "drop"},
        {"engine": "fast"},
        {"row_timeout_s": 0},
        {"n_jobs": 0},
        {"isolation": "thread"},
    ],
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


SOURCES = {
    "y": "def y(x): return 2 * x + 1",
    "z": "def z(y, x): return y // x",
    "w": "import math\ndef w(z): return math.sqrt(abs(z))",
}
DIAMOND = [("x", "y"), ("y", "z"), ("x", "z"), ("z", "w")]
WAYS: list[dict[str, Any]] = [
    {"engine": "rows"},
    {"engine": "columns"},
    {"engine": "auto", "n_jobs": 2},
    {"engine": "rows", "n_jobs": 3},
]


@pytest.mark.filterwarnings("ignore::causalkit.collect.failures.BiasedSampleWarning")
@pytest.mark.parametrize("options", [*WAYS, {"isolation": "process"}])
@pytest.mark.parametrize("noise", [None, {"y": 0.1, "w": 1.0}])
def test_every_way_of_running_gives_the_same_table(options: dict[str, Any], noise: Any) -> None:
    given: dict[str, Any] = {"input_ranges": {"x": (-9, 9)}, "noise": noise}
    first = collect(DIAMOND, SOURCES, 700, **given, isolation="none")
    again = collect(DIAMOND, SOURCES, 700, **given, **({"isolation": "none"} | options))
    pd.testing.assert_frame_equal(first, again)
    assert first.attrs["failures"] == again.attrs["failures"]
    assert first.attrs["num_failed"] > 0


def live() -> dict[str, Any]:
    return {"y": lambda x: 2 * x + 1, "z": lambda y, x: y / x, "w": lambda z: "up" if z > 0 else "down"}


@pytest.mark.parametrize("options", WAYS)
def test_live_callables_run_in_columns_rows_and_threads_alike(options: dict[str, Any]) -> None:
    first = collect(DIAMOND, live(), 600)
    again = collect(DIAMOND, live(), 600, **options)
    pd.testing.assert_frame_equal(first, again)


def test_the_engine_of_each_node_is_told_with_the_reason() -> None:
    attrs = collect(DIAMOND, live(), 600, engine="columns").attrs
    assert attrs["engine"] == {"x": "drawn", "y": "columns", "z": "columns", "w": "rows"}
    assert list(attrs["engine_reasons"]) == ["w"]
    assert "ambiguous" in attrs["engine_reasons"]["w"]


def test_few_rows_and_the_rows_engine_call_row_by_row() -> None:
    for options in ({"num_samples": 10}, {"num_samples": 600, "engine": "rows"}):
        assert set(collect(DIAMOND, live(), **options).attrs["engine"].values()) == {"drawn", "rows"}


def test_sources_and_live_callables_mix() -> None:
    code = {**SOURCES, "z": lambda x, y: y - x}
    mixed = collect(DIAMOND, code, 50, {"x": (1, 9)})
    pd.testing.assert_frame_equal(mixed, collect(DIAMOND, code, 50, {"x": (1, 9)}, isolation="none"))


def test_noise_reaches_the_children_and_is_seeded() -> None:
    code = {"y": lambda x: 2 * x, "z": lambda y: y + 1}
    traces = collect(CHAIN, code, 2000, noise={"x": 1.0, "y": 3.0})
    assert np.allclose(traces["z"], traces["y"] + 1)
    assert abs((traces["y"] - 2 * traces["x"]).std() - 3) < 0.2
    assert traces["x"].abs().max() > 10
    pd.testing.assert_frame_equal(traces, collect(CHAIN, code, 2000, noise={"y": 3.0, "x": 1.0}))


def test_noise_on_what_is_no_number_is_refused_or_fails() -> None:
    with pytest.raises(TraceCollectionError, match="'x'"):
        collect(CHAIN, CODE, 5, {"x": ["a"]}, noise={"x": 1.0})
    failures = one_child(lambda x: x > 2, noise={"y": 1.0}, max_failure_rate=1.0).attrs["failures"]
    assert {failure["exception"] for failure in failures} == {"UnusableResult"}


def test_failures_that_depend_on_an_input_warn_that_the_rest_is_a_biased_sample() -> None:
    with pytest.warns(BiasedSampleWarning, match=r"biased sample: x: 0 to 9 in the failed rows, 10 to 39") as caught:
        traces = one_child(lambda x: 1 / max(0, x - 9), 40)
    assert traces.attrs["caveats"] == [str(caught[0].message)]
    assert caught[0].filename == __file__


def test_failures_at_random_do_not_warn() -> None:
    chances = np.random.default_rng(0).random(200)
    assert one_child(lambda x: 1 / int(chances[x] < 0.9), 200).attrs["num_failed"] > 5


def test_real_rows_stay_together_and_are_no_knobs() -> None:
    real = pd.DataFrame({"x": [1, 2, 3], "v": [10, 20, 30]})
    traces = collect([("x", "y"), ("v", "y"), ("u", "y")], {"y": lambda x, v, u: v - x}, 40, real)
    assert (traces["v"] == 10 * traces["x"]).all()
    assert traces.attrs["knobs"] == ["u"]


def test_records_are_expanded_in_table_and_graph() -> None:
    code = {"y": "def y(x): return {'net': x, 'tax': x / 2}", "z": "def z(y): return y['net'] + y['tax']"}
    traces = collect(CHAIN, code, 9, expand=True, isolation="none")
    assert traces.columns.tolist() == ["x", "y.net", "y.tax", "z"]
    assert traces.attrs["graph"] == {
        "nodes": ["x", "y.net", "y.tax", "z"],
        "edges": [["x", "y.net"], ["x", "y.tax"], ["y.net", "z"], ["y.tax", "z"]],
    }
    pd.testing.assert_frame_equal(traces, collect(CHAIN, code, 9, expand=True, isolation="none", n_jobs=2))
    pd.testing.assert_frame_equal(traces, collect(CHAIN, code, 9, expand=True, isolation="process"))


def test_records_are_refused_until_they_are_asked_for() -> None:
    (failure,) = one_child(lambda x: {"a": x} if x == 1 else x).attrs["failures"]
    assert "expand=True" in failure["message"]


def test_the_attributes_say_how_the_table_came_about() -> None:
    traces = collect(CHAIN, {**CODE, "z": lambda y: y + 1}, 20)
    attrs = traces.attrs
    assert attrs["graph"] == {"nodes": ["x", "y", "z"], "edges": [["x", "y"], ["y", "z"]]}
    assert attrs["function_hashes"]["y"] == hashlib.sha256(CODE["y"].encode()).hexdigest()
    assert set(attrs["function_hashes"]) == {"y", "z"}
    assert attrs["cpu_s"] > 0
    assert pd.concat([traces, traces.copy()]).attrs["knobs"] == ["x"]


def test_the_table_can_be_written_to() -> None:
    traces = collect([("x", "y")], {"y": lambda x: x}, 600)
    before = traces.loc[0, "y"]
    traces.loc[0, "x"] = 99.0
    traces["y"] += 1
    assert traces.loc[0].tolist() == [99.0, before + 1]


def test_the_random_numbers_of_the_caller_are_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    collect([("x", "y")], {"y": lambda x: 2 * x}, 600, noise={"y": 1.0}, n_jobs=2)
    assert (random.getstate(), str(np.random.get_state())) == before  # noqa: NPY002


def test_a_default_is_used_and_never_a_random_number() -> None:
    assert one_child(lambda x, k=7: k + 0 * x)["y"].tolist() == [7] * 6
    with pytest.raises(TraceCollectionError, match="'k'"):
        one_child(lambda x, k: x)


def test_a_keyword_only_parameter_is_passed_by_every_engine() -> None:
    def double(*, x: int) -> int:
        return 2 * x

    for engine in ("rows", "columns"):
        assert one_child(double, 600, engine=engine)["y"].tolist() == list(range(0, 1200, 2))


def test_a_graph_read_from_source_runs_with_calls_and_parameters_without_effect() -> None:
    source = """
        def demand(price):
            return 100 - 3 * price

        def revenue(price, season):
            return price * demand(price)
    """
    graph = graph_from_code(source)
    assert set(graph.predecessors("revenue")) == {"demand", "price"}
    code = {"demand": source, "revenue": source}
    traces = collect_traces(graph, code, 50, {"price": (1.0, 9.0), "season": (0.0, 1.0)}, random_seed=0)
    assert (traces["revenue"] == traces["price"] * traces["demand"]).all()
