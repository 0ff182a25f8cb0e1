from __future__ import annotations

import networkx as nx
import pandas as pd
import pytest

from causalkit.collect.collector import collect_traces
from causalkit.errors import CausalkitError
from causalkit.plots.failures import plot_failures

SOURCE = """
def y(a, b):
    if a > 0.8: raise ValueError("too large")
    if b < 0.1: raise KeyError("too small")
    return a + b
"""


@pytest.fixture(scope="module")
def traces() -> pd.DataFrame:
    graph = nx.DiGraph([("a", "y"), ("b", "y")])
    with pytest.warns(UserWarning, match="biased"):
        return collect_traces(graph, {"y": SOURCE}, 200, {"a": (0.0, 1.0), "b": (0.0, 1.0)}, random_seed=0)


def test_kept_and_failed_rows_stand_apart_by_marker_and_by_exception(traces: pd.DataFrame) -> None:
    ax = plot_failures(traces, "a", "b")
    kept, *failed = ax.lines
    assert len(kept.get_xdata()) == len(traces)
    assert sum(len(line.get_xdata()) for line in failed) == 200 - len(traces)
    assert {line.get_marker() for line in failed} == {"x", "+"}
    assert [text.get_text().split()[0] for text in ax.get_legend().get_texts()][1:] == ["ValueError", "KeyError"]
    assert "failed" in ax.get_title()


def test_a_column_that_is_not_there_is_named(traces: pd.DataFrame) -> None:
    with pytest.raises(CausalkitError, match="'c' is no column of the table; it has 'a', 'b', 'y'"):
        plot_failures(traces, "a", "c")


def test_a_table_without_failures_is_drawn_too() -> None:
    ax = plot_failures(pd.DataFrame({"a": [1.0], "b": [2.0]}), "a", "b")
    assert len(ax.lines) == 1
