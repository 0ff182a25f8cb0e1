"""Steps that are optional, repeated, side by side; what else they did; and models that answer right about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.errors import GraphError
from causalkit.scm.derived import combine
from causalkit.scm.fitter import SCMFitter
from causalkit.tables import find_levels
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.trace_columns import RULES
from causalkit.workflows.traces import Traces, load_traces
from causalkit.workflows.variables import causal_graph, to_trace_table

BEGIN = datetime(2026, 1, 2, tzinfo=UTC)


class Recorded(list[WorkflowTrace]):
    """Runs without a store, which takes its time to open."""

    caveats = ()


NEWS = "Seen from space the Great Wall is invisible."
TOTAL = "total_latency_ms"


def step(name: str, start: float, ms: float, parent: str | None = None, ok: bool = True, **told: Any) -> StepTrace:
    attributes = {key.replace("__", "."): value for key, value in told.items() if key != "vram"}
    return StepTrace(
        step_id=f"{name}@{start}",
        parent_id=parent,
        step_name=name,
        start=BEGIN + timedelta(milliseconds=start),
        latency_ms=ms,
        success=ok,
        vram_peak_mb=told.get("vram"),
        attributes=attributes,
    )


def run(number: int, *steps: StepTrace, total: float = 100.0, **told: Any) -> WorkflowTrace:
    return WorkflowTrace(
        **{"request_id": f"r{number}", "success": True, "timestamp": BEGIN, "total_latency_ms": total, **told},
        steps=steps,
    )


def formulas_hold(table: pd.DataFrame, graph: nx.DiGraph[str]) -> bool:
    for node, formula in graph.nodes(data="derived"):
        rows = table[[*sorted(graph.predecessors(node)), node]].dropna().astype(float) if formula else table[:0]
        if len(rows):
            parts = {str(name): rows[[name]].to_numpy() for name in list(rows)[:-1]}
            np.testing.assert_allclose(combine(formula, parts, {})[:, 0], rows[node], atol=1e-6)
    return set(graph) <= set(table)


# What a run is made of: (start, length, name, in which of those before it).
spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 40), st.sampled_from("abc"), st.integers(0, 5)), max_size=6
)


@given(drawn=st.lists(spans, min_size=2, max_size=4), repeated=st.sampled_from(sorted(RULES)))
@settings(max_examples=25)
def test_whatever_ran_beside_what_the_total_is_the_exact_sum_of_its_parts(drawn: Any, repeated: Any) -> None:
    runs = []
    for number, those in enumerate(drawn):
        steps: list[StepTrace] = []
        for place, (start, ms, name, parent) in enumerate(those):
            told = step(name, start, ms, steps[parent].step_id if parent < len(steps) else None)
            steps.append(
                StepTrace(**{**{key: getattr(told, key) for key in told.__struct_fields__}, "step_id": f"{place}"})
            )
        runs.append(run(number, *steps))
    told: Any = Recorded(runs)
    table, graph = (ask(told, "all", repeated=repeated) for ask in (to_trace_table, causal_graph))
    assert graph.nodes[TOTAL]["derived"]
    assert formulas_hold(table, graph)
    if "parallel_ms" in table:
        assert (table["parallel_ms"] <= 0).all()


def test_steps_side_by_side_save_time_and_the_graph_says_which() -> None:
    beside = run(0, step("plan", 0, 10), step("web", 10, 50), step("wiki", 10, 30), step("write", 60, 20))
    in_turn = run(1, step("plan", 0, 10), step("web", 10, 50), step("wiki", 60, 30), step("write", 90, 10))
    traces = load_traces([beside, in_turn])
    table, graph = traces.to_trace_table(), traces.causal_graph()
    assert table["parallel_ms"].tolist() == [-30, 0]
    assert set(graph.predecessors("parallel_ms")) == {"web_self_ms", "wiki_self_ms"}
    assert graph.nodes[TOTAL]["derived"] == "sum"
    assert "parallel_ms" not in load_traces([in_turn]).to_trace_table()


def test_a_step_that_outlasts_its_caller_ran_beside_what_came_next() -> None:
    outer = step("outer", 0, 10)
    table = load_traces(
        [run(0, outer, step("log", 5, 20, outer.step_id), step("next", 10, 40), total=50)]
    ).to_trace_table()
    assert table.drop(columns=["question", "question_length"]).loc["r0"].to_dict() == {
        **{"outer_self_ms": 5, "log_self_ms": 20, "next_self_ms": 40, "unaccounted_ms": 0, "parallel_ms": -15},
        TOTAL: 50,
    }


def several(*kinds: tuple[StepTrace, ...], times: int = 100, **told: Any) -> Traces:
    return load_traces([run(number, *kinds[number % len(kinds)], **told) for number in range(times * len(kinds))])


def test_an_optional_step_is_whether_it_ran_and_what_it_took_where_it_did() -> None:
    traces = several((step("a", 0, 10), step("b", 20, 30)), (step("a", 0, 10),), (step("a", 0, 9), step("b", 20, 31)))
    table, graph = traces.to_trace_table(), traces.causal_graph()
    assert table["b_ran"].tolist()[:3] == [True, False, True]
    assert table["b_self_ms"].isna().tolist()[:3] == [False, True, False]
    assert graph.nodes[TOTAL]["derived"] == "a_self_ms + b_ran * b_self_ms + unaccounted_ms"
    assert graph.nodes["b_self_ms"]["present"] == "b_ran"
    assert graph.edges["b_ran", "unaccounted_ms"]["why"] == "each call of 'b' takes time around it"
    assert formulas_hold(table, graph)


def test_a_step_that_ran_in_few_runs_is_0_where_it_did_not() -> None:
    traces = several((step("a", 0, 10), step("b", 20, 30)), (step("a", 0, 10),))
    table, graph = traces.to_trace_table(), traces.causal_graph()
    assert table["b_self_ms_or_0"].tolist()[:2] == [30, 0]
    assert set(graph.predecessors(TOTAL)) == {"a_self_ms", "b_self_ms_or_0", "unaccounted_ms"}
    assert graph.has_edge("b_ran", "b_self_ms_or_0")


def test_what_never_runs_without_another_step_depends_on_it_and_what_always_does_is_the_same() -> None:
    a, b, c, d = (step(name, 10 * place, 5) for place, name in enumerate("abcd"))
    graph = several((a, b, c, d), (a, b), (a,)).causal_graph()
    assert graph.edges["b_ran", "c_ran"]["why"] == "'c' never ran without it"
    assert graph.nodes["d_ran"]["derived"] == "c_ran"
    assert not graph.has_edge("b_ran", "d_ran")


def test_steps_that_exclude_each_other_are_linked() -> None:
    a, b, c = (step(name, 10 * place, 5) for place, name in enumerate("abc"))
    graph = several((a, b), (a, c), (a,)).causal_graph()
    assert graph.edges["b_ran", "c_ran"]["why"] == "'c' never ran beside it"


def test_what_does_not_run_after_a_failure_depends_on_the_success() -> None:
    fine, failed = step("a", 0, 10), step("a", 0, 10, ok=False)
    traces = several((fine, step("b", 20, 5)), (failed,), (fine, step("b", 20, 6)))
    graph = traces.causal_graph(("self", "success"))
    assert graph.nodes["b_ran"]["derived"] == "a_success"
    assert graph.has_edge("a_success", "a_self_ms")
    assert formulas_hold(traces.to_trace_table("success"), graph)


def test_that_a_step_began_later_adds_no_edge() -> None:
    graph = several((step("a", 0, 10), step("b", 20, 5))).causal_graph()
    assert not graph.has_edge("a_self_ms", "b_self_ms")


@pytest.mark.parametrize(
    ("repeated", "value", "others"),
    [
        ("sum", 60, {}),
        ("mean", 20, {"ask_count": 3}),
        ("max", 30, {"ask_further_ms": 30}),
        ("first", 10, {"ask_further_ms": 50}),
        ("last", 20, {"ask_further_ms": 40}),
    ],
)
def test_repeated_steps_become_one_value_by_a_rule(repeated: Any, value: float, others: dict[str, float]) -> None:
    asks = step("ask", 0, 10), step("ask", 20, 30), step("ask", 50, 20)
    traces = load_traces([run(0, *asks), run(1, step("ask", 0, 10))])
    table, graph = traces.to_trace_table(repeated=repeated), traces.causal_graph(repeated=repeated)
    assert table.loc["r0", "ask_self_ms"] == value
    assert {name: table.loc["r0", name] for name in others} == others
    assert formulas_hold(table, graph)


def test_a_repetition_after_an_error_is_a_retry() -> None:
    asks = step("ask", 0, 10, ok=False), step("ask", 20, 30), step("ask", 60, 20)
    table = load_traces([run(0, *asks), run(1, step("ask", 0, 10))]).to_trace_table(["count", "retries", "success"])
    assert table[["ask_count", "ask_retries", "ask_success"]].values.tolist() == [[3, 1, False], [1, 0, True]]


def test_what_a_caller_tells_of_its_callees_counts_once() -> None:
    agent = step("agent", 0, 50, gen_ai__usage__input_tokens=30)
    calls = (
        step("llm", at, 5, agent.step_id, gen_ai__usage__input_tokens=n, cost_usd=n / 10)
        for at, n in ((1, 10), (9, 20))
    )
    table = load_traces([run(0, agent, *calls)]).to_trace_table(["tokens", "cost"])
    assert "agent_input_tokens" not in table
    assert table.loc["r0", ["llm_input_tokens", "total_input_tokens"]].tolist() == [30, 30]
    assert table.loc["r0", "total_cost_usd"] == pytest.approx(3)


def test_all_there_is_of_steps_and_runs_is_told_and_labels_stay_labels() -> None:
    kinds = [
        (
            step(
                "llm",
                0,
                10 + n,
                gen_ai__request__model=model,
                input_tokens=n,
                output_tokens=2 * n,
                cost_usd=0.1 * n,
                vram=n,
            ),
        )
        for n, model in ((1, "small"), (5, "large"))
    ]
    traces = several(*kinds, quality_signals={"has_citations": True})
    table, graph = traces.to_trace_table("all"), traces.causal_graph("all")
    assert {"llm_count", "llm_retries", "llm_success", "llm_latency_ms", "success", "has_citations"} <= set(table)
    assert find_levels(table, ["llm_model"]) == {"llm_model": ("large", "small")}
    assert graph.nodes["total_input_tokens"]["derived"] == "sum"
    assert {"llm_model", "llm_input_tokens"} <= set(graph.predecessors("llm_cost_usd"))
    assert table["llm_vram_peak_mb"].tolist()[:2] == [1, 5]


def test_the_latency_of_a_caller_is_its_own_time_and_that_of_its_callees() -> None:
    def called(ms: float) -> tuple[StepTrace, ...]:
        outer = step("outer", 0, 20 + ms)
        return outer, step("inner", 5, ms, outer.step_id)

    traces = several(called(10), called(20))
    table, graph = traces.to_trace_table("latency"), traces.causal_graph("latency")
    assert set(graph.predecessors("outer_latency_ms")) == {"outer_self_ms", "inner_latency_ms"}
    assert graph.edges["inner_latency_ms", "outer_latency_ms"]["kind"] == "call"
    assert formulas_hold(table, graph)


def test_a_flow_of_data_is_an_edge_between_what_was_put_out_and_what_was_given() -> None:
    def told(news: str) -> tuple[StepTrace, ...]:
        given = {"causalkit__input": f"Say if this is true: {news}", "causalkit__output": "True"}
        check = step("check", 60, 10, causalkit__input="True", causalkit__output="no")
        return step("search", 0, 10, causalkit__output=[news]), step("judge", 20, 30, **given), check

    traces = several(told(NEWS), told(NEWS + " It really is."))
    graph = traces.causal_graph(["self", "sizes"])
    flows = [(tail, head) for tail, head, kind in graph.edges(data="kind") if kind == "dataflow"]
    assert flows == [("search_output_size", "judge_input_size")]
    assert graph.edges[flows[0]]["why"] == "the input of 'judge' held what 'search' had put out"


def test_the_user_says_which_attributes_were_set_at_random() -> None:
    kinds = [(step("plan", 0, 5), step("search", 10, n, top_k=n), step("write", 40, 5)) for n in (1, 5)]
    traces = several(*kinds, attributes={"temperature": 0.5})
    table, graph = (ask(knobs=["search.top_k"]) for ask in (traces.to_trace_table, traces.causal_graph))
    assert table["search.top_k"].tolist()[:2] == [1, 5]
    assert table.attrs["knobs"] == ["search.top_k"]
    assert {head: kind for _, head, kind in graph.out_edges("search.top_k", data="kind")} == {
        "search_self_ms": "direct",
        "write_self_ms": "unrecorded",
    }
    with pytest.raises(GraphError, match=r"no run recorded the knob 'search\.topk'"):
        traces.to_trace_table(knobs=["search.topk"])


def test_names_that_no_formula_takes_are_cleaned_and_told() -> None:
    names = ("openai/chat gpt-4", "openai chat-gpt 4", "2nd", "class")
    table = several(tuple(step(name, 10 * place, 5) for place, name in enumerate(names))).to_trace_table()
    assert table.attrs["step_names"] == dict(
        zip(["openai_chat_gpt_4", "openai_chat_gpt_4_2", "_2nd", "_class"], names, strict=True)
    )
    assert all(name.isidentifier() for name in table)


def test_what_cannot_be_asked_for_is_refused_in_one_sentence() -> None:
    traces = several((step("a", 0, 10),), attributes={"knobs": {"a_self_ms": 1}})
    with pytest.raises(GraphError, match="there are no variables 'speed'; choose of success, retries"):
        traces.to_trace_table("speed")
    with pytest.raises(GraphError, match="repeated is 'median'; choose one of sum, mean"):
        traces.causal_graph(repeated="median")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="two variables are called 'a_self_ms'"):
        traces.to_trace_table()


def service(
    rng: np.random.Generator, n: int, chance: float = 0.6, slow: float = 1.0, beside: bool = False
) -> list[Any]:
    """Search, then check now and then (more often for long questions), then write; `beside`: while it checks."""
    runs = []
    for number in range(n):
        depth, length = int(rng.integers(1, 9)), int(rng.integers(10, 60))
        odds = np.log(chance / (1 - chance)) + 0.06 * (length - 35)
        ran = bool(rng.random() < 1 / (1 + np.exp(-odds)))
        search = step("search", 1, (20 + 5 * depth) * np.exp(0.1 * rng.normal()))
        check = step("check", 1.0 + search.latency_ms, (40 + 10 * depth) * slow * np.exp(0.15 * rng.normal()))
        ends = 1.0 + search.latency_ms + check.latency_ms * ran
        write = step("write", 1 + search.latency_ms if beside else ends, 30 + 0.5 * length + 2 * rng.normal())
        ends = max(ends, (write.start - BEGIN) / timedelta(milliseconds=1) + write.latency_ms)
        steps = [search, *([check] if ran else []), write]
        told = {"question": "q" * length, "attributes": {"knobs": {"depth": depth}}}
        runs.append(run(number, *steps, total=ends + abs(rng.normal()), **told))
    return runs


FITTER = SCMFitter(missing="model", on_failure="return", random_seed=0, progress=False)


def test_a_model_knows_what_happens_if_an_optional_step_always_or_never_runs(proof: bool) -> None:
    hits = []
    for seed in range(20 if proof else 2):
        traces = load_traces(service(np.random.default_rng(seed), 500))
        scm = FITTER.fit(traces.causal_graph(), traces.to_trace_table()).trust()
        for ran, chance in ((True, 1 - 1e-9), (False, 1e-9)):
            told = scm.intervene({"check_ran": ran}, num_samples=1000)
            truth = np.mean([each.total_latency_ms for each in service(np.random.default_rng(99), 5000, chance)])
            found = told.of(TOTAL)
            hits.append(found["low"] - 0.5 <= truth <= found["high"] + 0.5)
            assert found["mean"] == pytest.approx(truth, rel=0.05)
            assert told.samples["check_self_ms"].notna().mean() == pytest.approx(float(ran), abs=0.02)
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize(
    ("changed", "node"), [({}, None), ({"slow": 1.3}, "check_self_ms"), ({"chance": 0.85}, "check_ran")]
)
def test_a_change_of_an_optional_step_is_told_from_its_running_more_often(
    changed: dict[str, float], node: str | None, proof: bool
) -> None:
    first, shares = [], []
    for seed in range(30 if proof else 1):
        rng = np.random.default_rng(seed + 50)
        traces = load_traces(
            [
                *service(rng, 300),
                *(
                    run(
                        1000 + n,
                        *each.steps,
                        total=each.total_latency_ms,
                        question=each.question,
                        attributes=each.attributes,
                    )
                    for n, each in enumerate(service(rng, 300, **changed))
                ),
            ]
        )
        table = traces.to_trace_table()
        scm = FITTER.fit(traces.causal_graph(), table).trust()
        found = scm.explain_change(table[:300], table[300:], TOTAL, alpha=0.01)
        first.append(found.frame["node"].iloc[0] if len(found.frame) else None)
        shares.append(found.frame["contribution"].iloc[0] if len(found.frame) else 0.0)
    wrong = sum(name != node for name in first)
    assert wrong <= len(first) // 10, first
    if node:
        means = [
            np.mean([each.total_latency_ms for each in service(np.random.default_rng(9), 5000, **how)])
            for how in ({}, changed)
        ]
        assert np.mean(shares) == pytest.approx(means[1] - means[0], rel=0.1 if proof else 0.35)


def fragile(rng: np.random.Generator, n: int, first: int, chance: float) -> list[WorkflowTrace]:
    """Parse, which fails now and then after half of its time, and otherwise answer."""
    runs = []
    for number in range(n):
        fails = bool(rng.random() < chance)
        parse = step("parse", 1, (20 + 2 * rng.normal()) / (1 + fails), ok=not fails)
        answer = step("answer", 1 + parse.latency_ms, 50 + 5 * rng.normal())
        steps = [parse] if fails else [parse, answer]
        total = 1 + sum(each.latency_ms for each in steps) + abs(rng.normal())
        runs.append(run(first + number, *steps, total=total, success=not fails))
    return runs


def test_a_step_that_fails_more_is_named_for_all_that_did_not_run_after_it(proof: bool) -> None:
    named, moved = [], []
    for seed in range(20 if proof else 2):
        rng = np.random.default_rng(seed)
        traces = load_traces([*fragile(rng, 250, 0, 0.08), *fragile(rng, 250, 1000, 0.25)])
        table, graph = traces.to_trace_table("success"), traces.causal_graph("success", confounders=[])
        assert graph.nodes["success"]["derived"]
        assert formulas_hold(table, graph)
        found = FITTER.fit(graph, table).trust().explain_change(table[:250], table[250:], TOTAL, alpha=0.01).frame
        named.append(tuple(found["node"]))
        moved.append(found["contribution"].iloc[0])
    assert sum(names != ("parse_success",) for names in named) <= len(named) // 10, named
    assert np.mean(moved) == pytest.approx(-0.17 * 60, rel=0.15 if proof else 0.4)


def test_what_running_side_by_side_saves_goes_with_the_time_of_the_steps() -> None:
    traces = load_traces(service(np.random.default_rng(1), 500, chance=1 - 1e-9, beside=True))
    scm = FITTER.fit(traces.causal_graph(), traces.to_trace_table()).trust()
    slower = scm.effect("depth", TOTAL)
    truth = [
        [
            each.total_latency_ms
            for each in service(np.random.default_rng(9), 8000, 1 - 1e-9, beside=True)
            if each.attributes["knobs"]["depth"] == depth
        ]
        for depth in (4, 5)
    ]
    assert scm.report.r2_scores["parallel_ms"] > 0.8
    assert slower.value == pytest.approx(np.mean(truth[1]) - np.mean(truth[0]), rel=0.15)
