from __future__ import annotations

from typing import Any

import msgspec
import networkx as nx
import pandas as pd
import pytest

from causalkit.errors import GraphError
from causalkit.workflows.executor import GraphExecutor, ObservedState
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import Traces, load_traces

TIMES = ["search_self_ms", "rerank_self_ms", "greet_self_ms", "unaccounted_ms"]


def search(state: ObservedState, runtime: Any) -> dict[str, Any]:
    return {"hits": [state["question"]] * state["candidates"]}


def rerank(state: ObservedState, runtime: Any) -> dict[str, Any]:
    if not state["hits"]:
        raise LookupError("no hits")
    return {"ranked": state["hits"][: state["depth"]]}


def greet(state: ObservedState, runtime: Any) -> dict[str, Any]:
    return {"final_answer": "hello"}


def record(*knobs: dict[str, Any], steps: tuple[Any, ...] = (search, rerank, greet), question: str = "why?") -> Traces:
    tracer = Tracer()
    executor = GraphExecutor({"qa": steps}, tracer)
    for number, setting in enumerate(knobs):
        state = {"question": question + "?" * number, "request_id": f"r{number}"}
        try:
            executor.execute("qa", state, knobs=setting)
        except LookupError:
            continue
    return load_traces(tracer.runs)


@pytest.fixture(scope="module")
def traces() -> Traces:
    return record(*({"candidates": n % 3 + 1, "depth": n % 2 + 1, "constant": 7} for n in range(6)))


def edges(graph: nx.DiGraph[str], *kinds: str) -> dict[tuple[str, str], str]:
    return {(tail, head): kind for tail, head, kind in graph.edges(data="kind") if kind in kinds}


def test_an_edge_from_a_knob_is_there_where_the_reads_prove_it_and_nowhere_else(traces: Traces) -> None:
    assert edges(traces.causal_graph(), "direct", "dataflow", "unrecorded") == {
        ("candidates", "search_self_ms"): "direct",
        ("candidates", "rerank_self_ms"): "dataflow",
        ("depth", "rerank_self_ms"): "direct",
    }


def test_every_edge_says_why_it_is_there(traces: Traces) -> None:
    graph = traces.causal_graph()
    assert all(why for *_, why in graph.edges(data="why"))
    assert graph.edges["candidates", "rerank_self_ms"]["why"] == "read 'hits', written by 'search'"


def test_every_node_has_a_role(traces: Traces) -> None:
    roles = dict(traces.causal_graph(confounders=["question_length"]).nodes(data="role"))
    times = dict.fromkeys(TIMES, "time")
    knobs = {"candidates": "knob", "depth": "knob"}
    assert roles == {**knobs, "question_length": "confounder", **times, "total_latency_ms": "derived"}


def test_a_knob_that_never_varied_is_no_node(traces: Traces) -> None:
    assert "constant" not in traces.causal_graph()
    assert "constant" in traces.to_trace_table()


@pytest.mark.parametrize("value", [None, float("nan"), "x", (1, 2)])
def test_a_knob_without_variation_is_no_node_whatever_its_value(value: object) -> None:
    runs = record(*({"candidates": candidates, "depth": 1, "odd": value} for candidates in (1, 2)))
    assert "odd" not in runs.causal_graph()


def test_a_confounder_that_never_varied_is_no_node(traces: Traces) -> None:
    graph = traces.causal_graph(confounders=["question_length", "concurrent_runs"])
    assert "concurrent_runs" not in graph
    assert edges(graph, "confounder") == {("question_length", time): "confounder" for time in TIMES}


def test_without_confounders_there_is_none(traces: Traces) -> None:
    graph = traces.causal_graph(confounders=[])
    assert edges(graph, "confounder") == {}
    assert "question_length" not in traces.to_trace_table(confounders=[])


def test_a_confounder_that_no_run_recorded_is_an_error_that_names_it(traces: Traces) -> None:
    with pytest.raises(GraphError, match="no run recorded the confounder 'laod'") as caught:
        traces.causal_graph(confounders=["question_length", "laod"])
    assert caught.value.node == "laod"


def test_the_table_says_which_columns_are_knobs(traces: Traces) -> None:
    assert traces.to_trace_table().attrs["knobs"] == ["candidates", "depth", "constant"]


def test_a_step_that_did_not_record_its_reads_may_depend_on_every_knob() -> None:
    tracer = Tracer()
    for depth in (1, 2):
        with tracer.workflow("qa", knobs={"depth": depth}) as run, run.step("search"):
            pass
    graph = load_traces(tracer.runs).causal_graph()
    assert edges(graph, "direct", "dataflow", "unrecorded") == {("depth", "search_self_ms"): "unrecorded"}


def test_the_total_is_the_derived_sum_of_its_parents(traces: Traces) -> None:
    graph, table = traces.causal_graph(), traces.to_trace_table()
    assert graph.nodes["total_latency_ms"]["derived"] == "sum"
    assert sorted(graph.predecessors("total_latency_ms")) == sorted(TIMES)
    parts = table[list(graph.predecessors("total_latency_ms"))].sum(axis="columns")
    pd.testing.assert_series_equal(parts, table["total_latency_ms"], check_names=False, rtol=1e-12)


def test_every_node_is_a_column(traces: Traces) -> None:
    table = traces.to_trace_table()
    assert set(traces.causal_graph()) <= set(table)
    assert table.index.tolist() == [f"r{number}" for number in range(6)]
    assert table["question"].is_unique


def test_a_step_that_did_not_run_is_missing_and_not_zero() -> None:
    table = record({"candidates": 0, "depth": 1}, {"candidates": 2, "depth": 1}).to_trace_table()
    assert table["greet_self_ms"].isna().tolist() == [True, False]
    assert table["rerank_self_ms"].notna().all()
    parts = table[TIMES].sum(axis="columns")
    assert parts.tolist() == pytest.approx(table["total_latency_ms"].tolist())


def test_the_users_word_adds_and_removes_edges(traces: Traces) -> None:
    graph = traces.causal_graph(
        required=[("depth", "greet_self_ms")], forbidden=[("candidates", "rerank_self_ms"), ("depth", "search_self_ms")]
    )
    assert edges(graph, "user") == {("depth", "greet_self_ms"): "user"}
    assert graph.edges["depth", "greet_self_ms"]["why"] == "required by the user"
    assert not graph.has_edge("candidates", "rerank_self_ms")


def test_a_required_edge_that_closes_a_cycle_is_an_error(traces: Traces) -> None:
    with pytest.raises(GraphError, match="cycle") as caught:
        traces.causal_graph(required=[("search_self_ms", "candidates")])
    assert {"search_self_ms", "candidates"} <= set(caught.value.cycle)


@pytest.mark.parametrize("word", ["required", "forbidden"])
def test_an_edge_of_the_user_with_an_unknown_end_is_an_error_that_names_it(traces: Traces, word: str) -> None:
    with pytest.raises(GraphError, match="'depht' is no variable of these runs; known are candidates, depth") as caught:
        traces.causal_graph(**{word: [("depht", "rerank_self_ms")]})
    assert caught.value.node == "depht"


def test_a_crashed_run_has_no_total_and_no_time_outside_its_steps(traces: Traces) -> None:
    crashed = msgspec.structs.replace(traces[0], request_id="gone", total_latency_ms=None, crashed=True)
    row = load_traces([*traces, crashed]).to_trace_table().loc["gone"]
    assert pd.isna(row["total_latency_ms"])
    assert pd.isna(row["unaccounted_ms"])
    assert row["search_self_ms"] > 0
