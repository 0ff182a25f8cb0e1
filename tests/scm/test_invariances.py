"""What an answer must not depend on, and what asking must not touch."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service

SERVICE = Service(interaction=1.0)
TABLE = SERVICE.table(np.random.default_rng(0), 600)
ABNORMAL = SERVICE.table(np.random.default_rng(1), 60, {"search_ms": 8.0})
FITTER = SCMFitter(groups="question", on_failure="return", random_seed=7)


def _answers(scm: FittedSCM) -> dict[str, Any]:
    drawn = scm.intervene({"depth": 4}, 20)
    return {
        "coefficients": scm.to_dict()["mechanisms"],
        "validation": scm.to_dict()["validation"],
        "effect": scm.effect("depth", "total_ms").interval,
        "means": drawn.statistics.sort_index().round(9).to_dict(),
        "draws": drawn.samples[sorted(drawn.samples)].round(9).to_dict(),
        "causes": scm.root_causes(ABNORMAL, "total_ms").frame.round(9).to_dict(),
        "backtest": scm.backtest(TABLE, by=["depth"], outcome="total_ms").frame.round(9).to_dict(),
    }


EXPECTED = _answers(FITTER.fit(SERVICE.graph, TABLE))


@settings(max_examples=8)
@given(
    st.permutations(sorted(SERVICE.graph.edges)), st.permutations(sorted(SERVICE.graph)), st.permutations(list(TABLE))
)
def test_one_seed_gives_the_same_numbers_whatever_the_order_of_edges_nodes_and_columns(
    edges: list[tuple[str, str]], nodes: list[str], columns: list[str]
) -> None:
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from((node, SERVICE.graph.nodes[node]) for node in nodes)
    graph.add_edges_from(edges)
    found = _answers(FITTER.fit(graph, TABLE[columns]))
    for name, expected in EXPECTED.items():
        assert found[name] == expected, name


def test_other_seeds_give_other_draws() -> None:
    scm = FITTER.fit(SERVICE.graph, TABLE)
    assert not scm.sample(20, random_seed=1).equals(scm.sample(20, random_seed=2))


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_the_coefficients(random: Any) -> None:
    order = list(range(len(TABLE)))
    random.shuffle(order)
    scm = FITTER.fit(SERVICE.graph, TABLE.iloc[order])
    for node, expected in EXPECTED["coefficients"].items():
        found = scm.to_dict()["mechanisms"][node]
        assert found["type"] == expected["type"]
        for key in ("coefficients", "terms"):
            assert found.get(key) == (pytest.approx(expected[key]) if key in expected else None)


def test_asking_touches_neither_the_callers_things_nor_the_global_generator() -> None:
    graph, table, abnormal = SERVICE.graph, TABLE.copy(), ABNORMAL.copy()
    nodes, edges = dict(graph.nodes(data=True)), list(graph.edges(data=True))
    nodes = {node: dict(data) for node, data in nodes.items()}
    before = np.random.get_state()  # noqa: NPY002
    scm = FITTER.fit(graph, table)
    _answers(scm)
    assert scm.dowhy is not None
    after = np.random.get_state()  # noqa: NPY002
    assert (before[0], before[2:]) == (after[0], after[2:])
    assert (before[1] == after[1]).all()
    assert {node: dict(data) for node, data in graph.nodes(data=True)} == nodes
    assert list(graph.edges(data=True)) == edges
    assert_frame_equal(table, TABLE)
    assert_frame_equal(abnormal, ABNORMAL)


def test_changing_what_was_handed_out_or_in_does_not_change_the_model() -> None:
    graph, table = SERVICE.graph, TABLE.copy()
    scm = FITTER.fit(graph, table)
    graph.remove_node("load")
    table["load"] = 0.0
    shown = scm.to_dict()
    shown["mechanisms"].clear()
    assert _answers(scm)["effect"] == EXPECTED["effect"]


def test_booleans_count_as_nought_and_one() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"cache": rng.random(500) < 0.4})
    table["ms"] = 30.0 - 20 * table["cache"] + rng.normal(size=500)
    graph = nx.DiGraph([("cache", "ms")])
    as_bool, as_int = (
        SCMFitter(random_seed=1).fit(graph, table.astype({"cache": kind})).to_dict()["mechanisms"]["ms"]
        for kind in (bool, int)
    )
    assert as_bool == as_int


def test_more_groups_than_blocks_are_still_never_torn_apart() -> None:
    table = SERVICE.table(np.random.default_rng(2), 6000)
    scm = FITTER.fit(SERVICE.graph, table)
    assert len(set(zip(table["question"], scm.blocks, strict=True))) == len(set(table["question"]))
    assert len(np.unique(scm.blocks)) == 300
