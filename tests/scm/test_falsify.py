"""`falsify` rarely contradicts a true graph, contradicts most wrong ones, and says which part is wrong."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import CausalkitError, FitError, GraphError, InsufficientDataError
from causalkit.scm.falsify import Falsification, falsify
from causalkit.scm.fitter import SCMFitter
from tests.benchmarks.falsify import CONDITIONS, random_graph, random_table, true_case, wrong_cases
from tests.truth import Service, complex_dag, linear_chain, most

CHAIN = nx.DiGraph([("X", "Y"), ("Y", "Z")])


def ask(graph: Any, traces: pd.DataFrame | None = None, **options: Any) -> Falsification:
    return falsify(graph, traces, **{"num_permutations": 0, "random_seed": 0, "progress": False, **options})


@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_true_graph_is_rarely_contradicted(kind: str, proof: bool) -> None:
    groups = "group" if "rows_a_group" in CONDITIONS[kind] else None
    wrongly = []
    for seed in range(1000 if proof else 40):
        case = true_case(np.random.default_rng([3, seed]), kind)
        wrongly.append(ask(case.truth, case.table, groups=groups).verdict == "contradicted")
    print(kind, np.mean(wrongly))
    assert np.mean(wrongly) <= most(0.05, len(wrongly), risk=0.1 if proof else 1e-4)


def test_groups_ignored_would_contradict_true_graphs_often() -> None:
    """Roots that are constant within groups: what the groups are for."""
    wrongly = {None: 0, "group": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, 60, 1)) * np.ones((1, 1, 10))
        table = pd.DataFrame({"a": a.ravel(), "b": b.ravel(), "group": np.arange(600) // 10})
        graph = nx.empty_graph(["a", "b"], create_using=nx.DiGraph)
        for groups in wrongly:
            wrongly[groups] += ask(graph, table, groups=groups).verdict == "contradicted"
    assert wrongly["group"] <= 40 * most(0.05, 40)
    assert wrongly[None] >= 20


def test_wrong_graphs_are_contradicted(proof: bool) -> None:
    seen = [ask(case.wrong, case.table).verdict == "contradicted" for case in wrong_cases(40 if proof else 12)]
    assert np.mean(seen) >= 0.95


def test_dependence_without_correlation_is_seen() -> None:
    rng = np.random.default_rng(0)
    x, z, noise = rng.normal(size=(3, 800))
    graph = nx.empty_graph(["x", "y"], create_using=nx.DiGraph)
    for y in (x**2, np.sin(3 * x), np.abs(x), x * noise):
        assert ask(graph, pd.DataFrame({"x": x, "y": y + 0.5 * z})).verdict == "contradicted"


def test_an_effect_that_only_shows_with_another_parent_is_seen() -> None:
    rng = np.random.default_rng(0)
    knob, load, noise = rng.normal(size=(3, 800))
    table = pd.DataFrame({"knob": knob, "load": load, "ms": knob * load + noise})
    assert ask(_graph("load->ms", "knob"), table).missing_edges == [("knob", "ms")]


def test_the_missing_edge_is_named() -> None:
    found = ask(nx.DiGraph([("X", "Y"), ("X", "Z")]), linear_chain())
    assert found.verdict == "contradicted"
    assert found.missing_edges == [("Y", "Z")]
    assert "missing between Y and Z" in found.sentence


def test_a_superfluous_edge_is_named_and_contradicts_nothing() -> None:
    rng = np.random.default_rng(1)
    x, y, w = rng.normal(size=(3, 800))
    found = ask(_graph("x->y", "w->y"), pd.DataFrame({"x": x, "y": x + y, "w": w}))
    assert found.verdict == "not contradicted"
    assert found.unsupported_edges == [("w", "y")]
    assert "claims more than the data show" in found.sentence
    assert "w -> y" in found.sentence


def test_a_complete_graph_leaves_nothing_to_test_but_its_edges() -> None:
    found = ask(nx.DiGraph([("X", "Y"), ("Y", "Z"), ("X", "Z")]), linear_chain(), num_permutations=10)
    assert found.verdict == "nothing to test"
    assert found.baseline is None
    assert not found.informative
    assert "claims no independence" in found.sentence
    assert set(found.to_frame()["kind"]) == {"edge"}


@pytest.mark.parametrize("nodes", [[], ["X"]])
def test_a_graph_without_pairs_is_nothing_to_test(nodes: list[str]) -> None:
    found = ask(nx.empty_graph(nodes, create_using=nx.DiGraph), linear_chain())
    assert found.verdict == "nothing to test"
    assert found.to_frame().empty
    assert found.missing_edges == found.unsupported_edges == []
    assert "nothing to test" in found._repr_html_()


def test_the_frame_has_one_row_a_test() -> None:
    frame = ask(CHAIN, linear_chain()).to_frame()
    assert list(frame) == ["kind", "node", "other", "given", "statistic", "p_value", "adjusted", "rejected"]
    assert sorted(frame[["kind", "node", "other", "given"]].to_numpy().tolist()) == [
        ["edge", "Y", "X", ""],
        ["edge", "Z", "Y", ""],
        ["independence", "Z", "X", "Y"],
    ]
    assert (frame["adjusted"] >= frame["p_value"]).all()


def test_derived_nodes_and_the_edges_into_them_are_not_tested() -> None:
    service = Service()
    found = ask(service.graph, service.table(np.random.default_rng(0)), groups="question")
    frame = found.to_frame()
    assert found.verdict == "not contradicted"
    assert "total_ms" not in {*frame["node"], *frame["other"]}


def test_derived_nodes_can_be_named_by_the_caller_and_may_be_conditioned_on() -> None:
    rng = np.random.default_rng(0)
    a, b, cost = rng.normal(size=(3, 600))
    table = pd.DataFrame({"a": a, "b": b, "total": a + b, "cost": a + b + cost})
    frame = ask(_graph("a->total", "b->total", "total->cost"), table, derived={"total": "sum"}).to_frame()
    independencies = frame[frame["kind"] == "independence"]
    assert "total" in set(independencies["given"])
    assert "total" not in {*independencies["node"], *independencies["other"]}


def test_what_is_computed_from_the_given_columns_is_named_and_not_tested() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 500))
    found = ask(_graph("a->twice", "twice->c", "b"), pd.DataFrame({"a": a, "b": b, "twice": 2 * a, "c": a + c}))
    assert any("computed from the given" in caveat and "c and a given twice" in caveat for caveat in found.caveats)
    assert np.isfinite(found.to_frame()["p_value"]).all()


def test_a_constant_column_is_named_and_not_tested() -> None:
    table = linear_chain().assign(X=1.0)
    found = ask(CHAIN, table)
    assert any("constant" in caveat for caveat in found.caveats)


def test_nearly_collinear_parents_do_not_contradict_the_true_graph() -> None:
    graph = nx.DiGraph([("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")])
    assert ask(graph, complex_dag()).verdict == "not contradicted"


def test_labels_and_booleans_are_tested_too() -> None:
    rng = np.random.default_rng(0)
    mode = rng.choice(["deep", "fast", "off"], 600)
    cost = {"deep": 1.0, "fast": 0.0, "off": 1.0}
    table = pd.DataFrame({"mode": mode, "ok": rng.random(600) < 0.5})
    table["ms"] = [cost[label] for label in mode] + rng.normal(size=600)
    apart = nx.empty_graph(["mode", "ok", "ms"], create_using=nx.DiGraph)
    assert ask(apart, table).missing_edges == [("mode", "ms")]
    assert ask(_graph("mode->ms", "ok"), table).verdict == "not contradicted"


def test_few_graphs_with_swapped_names_do_as_well_as_a_true_one() -> None:
    rng = np.random.default_rng(4)
    graph = random_graph(rng, 6, 0.5)
    found = ask(graph, random_table(rng, graph, 800), num_permutations=50)
    assert found.baseline is not None
    assert found.baseline <= 0.1
    assert found.informative
    assert "permuted names" in found.sentence


def test_passing_says_little_where_swapped_names_claim_the_same() -> None:
    found = ask(CHAIN, linear_chain(), num_permutations=60)
    assert found.equivalent == pytest.approx(1 / 3, abs=0.2)
    assert not found.informative
    assert "says little" in found.sentence


def test_the_same_seed_gives_the_same_answer_in_whatever_order_edges_are_written() -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, 6, 0.4)
    table = random_table(rng, graph, 500)
    turned = nx.DiGraph(list(graph.edges)[::-1])
    turned.add_nodes_from(graph)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    one, two = (ask(edges, table, num_permutations=20) for edges in (graph, turned))
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())
    assert (one.baseline, one.equivalent) == (two.baseline, two.equivalent)


def test_units_and_rows_in_another_order_do_not_matter() -> None:
    table = linear_chain()
    shuffled = table.sample(frac=1, random_state=0).assign(Y=lambda rows: 1000 * rows["Y"] + 5)
    one, two = (ask(CHAIN, rows).to_frame()["p_value"] for rows in (table, shuffled))
    np.testing.assert_allclose(one, two, rtol=1e-3)


def test_a_fitted_model_brings_its_table_groups_and_derived_nodes() -> None:
    service = Service()
    table = service.table(np.random.default_rng(0))
    scm = SCMFitter(groups="question", on_failure="return", random_seed=0).fit(service.graph, table)
    kept, given = ask(scm), ask(scm, table)
    columns = ["kind", "node", "other", "given", "p_value"]
    pd.testing.assert_frame_equal(kept.to_frame()[columns], given.to_frame()[columns])
    assert kept.verdict == "not contradicted"


def test_few_groups_are_said() -> None:
    table = linear_chain().assign(day=lambda rows: rows.index % 7)
    assert "only 7 independent groups of runs: little can be seen" in ask(CHAIN, table, groups="day").caveats


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"groups": "day"}, FitError, "no column 'day'"),
        ({"alpha": 0}, FitError, "alpha is 0"),
        ({"alpha": 1.5}, FitError, "alpha is 1.5"),
        ({"num_permutations": -1}, FitError, "num_permutations is -1"),
        ({"derived": {"nobody": "sum"}}, GraphError, "'nobody' is no node"),
        ({"random_seed": -1}, CausalkitError, "random_seed is -1"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        ask(CHAIN, linear_chain(), **options)


def test_a_graph_without_a_table_is_refused() -> None:
    with pytest.raises(FitError, match="give the trace table too"):
        ask(CHAIN)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InsufficientDataError, match="20 rows are too few") as caught:
        ask(CHAIN, linear_chain(20))
    assert caught.value.num_rows == 20


def test_a_cycle_and_a_missing_column_are_refused() -> None:
    with pytest.raises(GraphError, match="cycle"):
        ask(nx.DiGraph([("X", "Y"), ("Y", "X")]), linear_chain())
    with pytest.raises(FitError, match="no column for node 'W'"):
        ask(nx.DiGraph([("W", "X")]), linear_chain())


def test_a_bar_shows_on_demand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("causalkit.scm.markov._BAR_AFTER", 0.0)
    ask(CHAIN, linear_chain(), progress=True)
    assert "testing" in capsys.readouterr().err


def _graph(*parts: str) -> nx.DiGraph:
    graph = nx.DiGraph()
    for part in parts:
        nx.add_path(graph, part.split("->"))
    return graph
