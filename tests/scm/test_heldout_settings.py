"""On the shipped recording: predictions for settings that the model never saw, and a fault that was planted."""

from __future__ import annotations

import networkx as nx
import pandas as pd
import pytest

import causalkit as ck

KNOBS = ("rerank_depth", "candidates", "corpus_size", "answer_sentences")
OUTCOME = "total_latency_ms"
FITTER = ck.SCMFitter(groups="question", on_failure="return", random_seed=0)


def _traces(part: str) -> ck.Traces:
    return ck.load_recording(part=part).filter_by_workflow("search_qa").filter_by_success()


@pytest.fixture(scope="module")
def recorded() -> tuple[nx.DiGraph, pd.DataFrame]:
    traces = _traces("runs")
    return traces.causal_graph(), traces.to_trace_table()


def test_nine_in_ten_unseen_settings_come_true(recorded: tuple[nx.DiGraph, pd.DataFrame]) -> None:
    graph, table = recorded
    covered: list[bool] = []
    for knob in KNOBS:
        for value in sorted(table[knob].unique()):
            held = table[knob] == value
            scm = FITTER.fit(graph, table[~held])
            result = scm.backtest(table[held], by=[knob, "cache"], outcome=OUTCOME, min_rows=15)
            covered += result.frame["covered"].tolist()
    print(len(covered), sum(covered) / len(covered))
    assert len(covered) == 46
    assert sum(covered) / len(covered) >= 0.9


def test_the_step_that_was_slowed_on_purpose_is_the_first_cause(recorded: tuple[nx.DiGraph, pd.DataFrame]) -> None:
    found = FITTER.fit(*recorded).root_causes(_traces("slow_check").to_trace_table(), OUTCOME)
    assert found.frame["node"][0] == "check_answer_self_ms"
    assert found.frame["low"][0] > 0
