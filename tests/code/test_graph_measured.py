"""Dependences that were measured by running programs must be paths of their graphs, and edges must be right."""

from __future__ import annotations

import networkx as nx
import pytest

from causalkit.code.graph import graph_from_code
from tests.code.programs import PARAMETERS, dependences_by_structure, measured_dependences, random_program, runnable

HAND_LABELLED = [
    ("def f(a, b, c): return a if b else 0", "a b"),
    ("def f(a, b, c):\n    a = b\n    return a + c", "b c"),
    ("def f(a, b, c):\n    if a < 0:\n        return b\n    print(c)\n    return 1", "a b"),
    ("def f(a, b, c):\n    x = a\n    if b:\n        x = 0\n    else:\n        y = c\n    return x", "a b"),
    ("def f(a, b, c):\n    t = 0\n    for i in range(a):\n        t += b\n    return t", "a b"),
    ("def f(a, b, c):\n    while a > b:\n        a -= 1\n        if c:\n            break\n    return a", "a b c"),
    ("def f(a, b, c):\n    x, y = a, b\n    x, y = y, x\n    return x", "b"),
    ("def f(a, b, c):\n    xs = [a]\n    xs.append(b)\n    ys = [c]\n    ys.append(a)\n    return xs", "a b"),
    ("def f(a, b, c):\n    try:\n        x = 1 / a\n    except ZeroDivisionError:\n        x = b\n    return x", "a b"),
    ("def f(a, b, c):\n    def g(k):\n        return k + a\n    return g(b)", "a b"),
    ("def f(a, b, c):\n    d = {}\n    d[a] = b\n    e = d\n    e['c'] = c\n    return d", "a b c"),
    ("def f(a, b, c):\n    for x in a:\n        if x == b:\n            return True\n    return False", "a b"),
    ("def f(a, b, c):\n    import logging\n    logging.info('%s', a)\n    return sorted(b, key=lambda r: r * 2)", "b"),
    (
        "def f(a, b, c):\n    match a:\n        case 0:\n            return b\n        case _:\n            return 2",
        "a b",
    ),
    ("def _g(x, y):\n    y = 0\n    return x\ndef f(a, b, c):\n    return _g(a, b) if (n := c) else n", "a c"),
    ("def f(a, b, c):\n    xs = [a, b]\n    a = c\n    return [x for x in xs if x]", "a b"),
]


def edges(source: str) -> set[str]:
    return set(graph_from_code(source).predecessors("f"))


def paths_of_statements(source: str) -> set[str]:
    graph = graph_from_code(source, level="statements")
    return {name for name in PARAMETERS if nx.has_path(graph, f"f.{name}", "f.return")}


@pytest.fixture(scope="module")
def programs(proof: bool) -> list[str]:
    return [random_program(seed) for seed in range(5000 if proof else 250)]


def test_every_measured_dependence_is_a_path_of_both_levels(programs: list[str]) -> None:
    for source in programs:
        measured = measured_dependences(runnable(source))
        assert measured <= edges(source), source
        assert measured <= paths_of_statements(source), source


def test_both_levels_tell_the_same(programs: list[str]) -> None:
    for source in programs:
        assert edges(source) == paths_of_statements(source), source


def test_nine_of_ten_edges_are_dependences_by_structure(programs: list[str]) -> None:
    found = confirmed = 0
    for source in programs[: len(programs) // 2]:
        read, true = edges(source), dependences_by_structure(source)
        found, confirmed = found + len(read), confirmed + len(read & true)
    print(f"precision of {found} edges: {confirmed / found:.3f}")
    assert confirmed / found >= 0.9


def test_at_most_a_tenth_of_the_statements_is_not_understood(programs: list[str]) -> None:
    facts = [graph_from_code(source).graph for source in programs]
    reports = sum(len(fact["not_understood"]) for fact in facts)
    assert reports <= 0.1 * sum(fact["statements"] for fact in facts)


@pytest.mark.parametrize(("source", "parents"), HAND_LABELLED)
def test_functions_labelled_by_hand_have_exactly_their_edges(source: str, parents: str) -> None:
    assert edges(source) == set(parents.split())
