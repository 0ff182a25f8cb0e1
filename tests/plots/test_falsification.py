from __future__ import annotations

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch

from causalkit.plots.falsification import plot_falsification
from causalkit.scm.falsify import Falsification, falsify
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts


@pytest.fixture
def result() -> Falsification:
    """The edge y -> z is missing, the edge w -> z too much."""
    w, x, y, z = np.random.default_rng(0).normal(size=(4, 600))
    traces = pd.DataFrame({"w": w, "x": x, "y": x + y, "z": x + y + z})
    graph = nx.DiGraph([("x", "y"), ("x", "z"), ("w", "z")])
    return falsify(graph, traces, num_permutations=0, random_seed=0, progress=False)


def _dashes(ax: plt.Axes) -> list[str]:
    return sorted(patch.get_linestyle() for patch in ax.patches if isinstance(patch, FancyArrowPatch))


def test_missing_pairs_are_dashed_and_unsupported_edges_dotted(result: Falsification) -> None:
    ax = plot_falsification(result)
    assert _dashes(ax) == ["-", "-", "--", ":"]
    assert_only_the_house_colours(ax)


def test_nodes_and_missing_pairs_are_labelled(result: Falsification) -> None:
    shown = texts(plot_falsification(result))
    assert {"w", "x", "y", "z", "p < .001"} == set(shown)


def test_the_title_tells_the_verdict_and_the_legend_what_occurs(result: Falsification) -> None:
    ax = result.plot()
    assert ax.get_title().startswith("Contradicted: ")
    assert legend_texts(ax) == [
        "edge",
        "edge that the data do not show",
        "missing: an edge or a common cause (adjusted p)",
    ]


def test_nothing_to_test_is_drawn_on_the_axes_that_were_given() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 100))
    result = falsify(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": x + y}), progress=False)
    ax = plt.subplots()[1]
    assert plot_falsification(result, ax=ax) is ax
    assert ax.get_title() == "Nothing to test: the graph claims no independence"
    assert legend_texts(ax) == ["edge"]


def test_an_empty_graph_is_drawn() -> None:
    result = falsify(nx.DiGraph(), pd.DataFrame({"x": np.arange(60.0)}), progress=False)
    assert legend_texts(result.plot()) == []
