from __future__ import annotations

import functools
import operator
from typing import Any

import networkx as nx
import pytest

from causalkit.code.graph import graph_from_code
from causalkit.collect.collector import collect_traces
from causalkit.errors import GraphError, TraceCollectionError

PRICING = """
def _discount(n):
    return 0.9 if n > 3 else 1.0

def demand(price, season=1.0):
    if price > 8:
        return 0
    return (10 - price) * season

def revenue(price, demand):
    return price * demand * _discount(demand)
"""


def statements(source: str) -> nx.DiGraph:
    return graph_from_code(source, level="statements")


def not_understood(source: str) -> list[str]:
    return [construct for _, construct, _ in graph_from_code(source).graph["not_understood"]]


def test_a_parameter_named_like_a_function_is_its_result() -> None:
    assert set(graph_from_code(PRICING).edges) == {
        ("price", "demand"), ("season", "demand"), ("price", "revenue"), ("demand", "revenue"),
    }  # fmt: skip


def test_the_graph_and_the_same_source_go_into_collect_traces_without_renaming() -> None:
    graph = graph_from_code(PRICING)
    sources = dict.fromkeys(["demand", "revenue"], PRICING)
    traces = collect_traces(graph, sources, 30, {"price": (0.0, 10.0)}, random_seed=0, progress=False)
    assert set(traces.columns) == set(graph)
    assert (traces.loc[traces["price"] > 8, "revenue"] == 0).all()
    assert len(traces) == 30


def test_a_mapping_of_sources_is_what_collect_traces_takes() -> None:
    sources = {"y": "def double(x): return 2 * x", "z": lambda y, x: y - x}
    traces = collect_traces(graph_from_code(sources), sources, 5, random_seed=0, progress=False)
    assert list(traces["z"]) == list(traces["x"])


def test_live_callables_are_read_by_their_names_and_wrappers_are_looked_through() -> None:
    @functools.lru_cache
    def cost(n: float) -> float:
        return 2 * n

    def total(cost: float, fee: float) -> float:
        return cost + fee

    graph = graph_from_code([cost, total])
    assert set(graph.edges) == {("n", "cost"), ("cost", "total"), ("fee", "total")}
    assert graph.nodes["total"]["line"] > 1


def test_a_bound_method_has_no_node_for_its_object() -> None:
    class Shop:
        rate = 2

        def cost(self, n: float) -> float:
            return self.rate * n

    assert set(graph_from_code(Shop().cost)) == {"n", "cost"}


def test_a_called_function_is_a_parent_by_call() -> None:
    graph = graph_from_code("def cost(n): return 2 * n\ndef total(n, fee): return cost(n) + fee")
    assert graph.edges["cost", "total"]["kind"] == "call"
    assert graph.edges["n", "total"]["kind"] == "data"


def test_helpers_are_looked_through_up_to_the_parameters_that_they_use_and_change() -> None:
    source = (
        "def _put(xs, item, note): xs.append(item)\ndef f(a, b, c):\n    xs = [a]\n    _put(xs, b, c)\n    return xs"
    )
    assert set(graph_from_code(source).predecessors("f")) == {"a", "b"}


def test_a_parameter_without_effect_is_a_node_without_an_edge() -> None:
    graph = graph_from_code("def f(x, unused): return x")
    assert graph.degree("unused") == 0
    assert graph.nodes["f"]["arguments"] == ("x", "unused")


def test_functions_that_need_one_another_are_a_cycle() -> None:
    with pytest.raises(GraphError, match="a -> b -> a") as caught:
        graph_from_code("def a(b): return b\ndef b(a): return a")
    assert caught.value.cycle == ["a", "b", "a"]


def test_functions_that_call_one_another_are_a_cycle() -> None:
    with pytest.raises(GraphError, match="even -> odd -> even"):
        graph_from_code("def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)")


def test_a_function_that_calls_itself_depends_on_its_parameters() -> None:
    assert set(graph_from_code("def f(n): return 1 if n < 2 else n * f(n - 1)").edges) == {("n", "f")}


def test_statements_of_functions_that_call_one_another_are_drawn_without_these_calls() -> None:
    source = "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)"
    assert set(statements(source).edges) == {("even.n", "even.return"), ("odd.n", "odd.return")}


def test_source_that_is_no_python_names_the_line() -> None:
    with pytest.raises(TraceCollectionError, match="line 2") as caught:
        graph_from_code("def f(x):\n    return x +\n")
    assert caught.value.line == 2


@pytest.mark.parametrize("function", [len, operator.itemgetter(0), functools.partial(print, 1)])
def test_a_callable_without_source_is_refused_with_what_to_give(function: Any) -> None:
    with pytest.raises(GraphError, match=r"'y'.*source as text") as caught:
        graph_from_code({"y": function})
    assert caught.value.node == "y"


@pytest.mark.parametrize("source", [[lambda x: x], {"y": 3}, {1: len}])
def test_what_has_no_name_or_is_no_function_is_refused(source: Any) -> None:
    with pytest.raises(GraphError, match="give"):
        graph_from_code(source)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(GraphError, match="statements"):
        graph_from_code("def f(x): return x", level="lines")  # type: ignore[arg-type]


def test_text_without_a_function_gives_an_empty_graph_that_says_so() -> None:
    assert len(graph_from_code("x = 1")) == 0
    assert not_understood("x = 1") == ["module"]


def test_both_branches_reach_the_join_and_not_one_another() -> None:
    graph = statements("def f(x, y):\n    z = 0\n    if x:\n        z = y\n    else:\n        z = 2\n    return z")
    assert set(graph.predecessors("return")) == {"z@L4", "z@L6"}
    assert not graph.has_edge("z@L4", "z@L6")
    assert graph.edges["x", "z@L6"]["kind"] == "control"
    assert graph.edges["y", "z@L4"] == {"kind": "data", "line": 4}


def test_a_loop_is_one_node() -> None:
    graph = statements("def f(n):\n    i = t = 1\n    while i < n:\n        t = i + 1\n        i = 2 * t\n    return t")
    assert sorted(graph.nodes["i+t@L4-L5"]["members"]) == ["i@L5", "t@L4"]
    assert graph.has_edge("i+t@L4-L5", "return")


def test_two_definitions_in_a_line_are_told_apart_by_their_column() -> None:
    assert {"x@L1:9", "x@L1:16"} <= set(statements("def f(): x = 1; x = 2; return x"))


@pytest.mark.parametrize(
    ("body", "defined"),
    [
        ("p, (q, *r) = x", "p q r"),
        ("p: int = x", "p"),
        ("p = 0; p += x", "p"),
        ("q = (p := x) + 1", "p q"),
        ("p = {}; p['k'] = x", "p"),
        ("p = [0]; p[0] = x", "p"),
        ("q = p = []; p.append(x)", "p q"),
        ("with x as p: q = p", "p q"),
        ("for p in x: q = p", "p q"),
        ("for q, p in enumerate(x): pass", "p q"),
    ],
)
def test_every_kind_of_target_depends_on_what_it_is_given(body: str, defined: str) -> None:
    for name in defined.split():
        assert set(graph_from_code(f"def f(x):\n    {body}\n    return {name}").edges) == {("x", "f")}


@pytest.mark.parametrize(
    "line", ["print(x)", "logging.info(x)", "self.logger.debug('%s', x)", "warnings.warn(str(x))", "log.error(x)"]
)
def test_printing_and_logging_carry_no_cause(line: str) -> None:
    assert not set(graph_from_code(f"def f(x, y):\n    {line}\n    return y").successors("x"))


def test_printing_into_a_buffer_does() -> None:
    source = "def f(x):\n    buffer = io.StringIO()\n    print(x, file=buffer)\n    return buffer.getvalue()"
    assert set(graph_from_code(source).edges) == {("x", "f")}


def test_a_change_is_seen_under_every_name_of_the_object() -> None:
    source = "def f(x):\n    xs = []\n    held = {'xs': xs}\n    held['xs'].append(x)\n    return xs"
    assert set(graph_from_code(source).edges) == {("x", "f")}


def test_a_closure_sees_what_is_assigned_after_it() -> None:
    source = "def f(x, y):\n    k = x\n    g = lambda: k\n    k = y\n    return g()"
    assert ("y", "f") in graph_from_code(source).edges


def test_a_nested_function_changes_what_is_nonlocal() -> None:
    source = "def f(x):\n    n = 0\n    def g():\n        nonlocal n\n        n += x\n    g()\n    return n"
    assert set(graph_from_code(source).edges) == {("x", "f")}


def test_suppressed_exceptions_decide_on_what_they_cut_short() -> None:
    source = "def f(x):\n    y = 1\n    with suppress(KeyError):\n        d = {}[x]\n        y = 2\n    return y"
    assert set(graph_from_code(source).edges) == {("x", "f")}


@pytest.mark.parametrize(
    ("source", "construct"),
    [
        ("def f(x):\n    global n\n    n = x\n    return n", "global"),
        ("def f(x):\n    return eval('x')", "eval"),
        ("CACHE = {}\ndef f(x):\n    CACHE[x] = 1\n    return x", "assignment"),
        ("def f(*xs):\n    return sum(xs)", "*xs"),
        ("class C:\n    def m(self): pass\ndef f(x): return x", "class"),
        ("def f(x):\n    n = 0\n    def g():\n        nonlocal n\n        n += x\n    run(g)\n    return n", "closure"),
    ],
)
def test_what_is_not_understood_is_reported_and_never_dropped(source: str, construct: str) -> None:
    assert construct in not_understood(source)


def test_unknown_functions_whose_result_is_used_are_listed() -> None:
    assert graph_from_code("def f(x): return fetch(x)").graph["assumed"] == [(1, "fetch")]


def test_a_loop_leaves_its_variable_as_the_last_round_left_it() -> None:
    source = "def f(x):\n    for k in range(3):\n        k = x\n    return k"
    assert ("x", "f") in graph_from_code(source).edges
