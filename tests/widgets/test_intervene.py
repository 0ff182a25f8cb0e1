from __future__ import annotations

import time

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from ipywidgets import FloatSlider, IntSlider

import causalkit as ck
from causalkit.errors import GraphError
from causalkit.scm.model import FittedSCM
from causalkit.widgets.intervene import InterventionView
from tests.truth import Service


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    table = Service().table(np.random.default_rng(0))
    return ck.SCMFitter(groups="question", on_failure="return", random_seed=0).fit(Service().graph, table)


def test_moving_the_slider_changes_words_and_picture(scm: FittedSCM) -> None:
    view = InterventionView(scm, "depth", "total_ms")
    text, picture = view.text, view.picture.value
    view.slider.value = 8
    assert "do(depth = 8)" in view.text
    assert view.text != text
    assert view.picture.value != picture
    assert bytes(view.picture.value).startswith(b"\x89PNG")
    assert view.text in view.reading.value


def test_the_reading_is_what_the_model_answers(scm: FittedSCM) -> None:
    view = InterventionView(scm, "depth")
    view.slider.value = 3
    assert view.text == scm.intervene({"depth": 3}).sentence_about("total_ms")


def test_coming_back_shows_the_same_again(scm: FittedSCM) -> None:
    view = InterventionView(scm, "depth")
    start, text, picture = view.slider.value, view.text, view.picture.value
    view.slider.value = 8
    view.slider.value = start
    assert (view.text, view.picture.value) == (text, picture)


def test_the_slider_has_the_recorded_range_in_whole_steps_where_values_are_whole(scm: FittedSCM) -> None:
    depth, load = InterventionView(scm, "depth").slider, InterventionView(scm, "load").slider
    assert isinstance(depth, IntSlider)
    assert (depth.min, depth.max) == (1, 8)
    assert isinstance(load, FloatSlider)
    assert (load.min, load.max) == (scm.table["load"].min(), scm.table["load"].max())


def test_no_figure_is_left_open(scm: FittedSCM) -> None:
    view = InterventionView(scm, "depth")
    for depth in range(1, 9):
        view.slider.value = depth
    assert plt.get_fignums() == []


def test_names_are_escaped_in_the_reading() -> None:
    x = np.random.default_rng(0).normal(size=(200, 2))
    table = pd.DataFrame({"<b>x</b>": x[:, 0], "<script>y": 2 * x[:, 0] + 0.1 * x[:, 1]})
    scm = ck.SCMFitter(random_seed=0).fit(nx.DiGraph([("<b>x</b>", "<script>y")]), table)
    shown = InterventionView(scm, "<b>x</b>").reading.value
    assert "<b>" not in shown
    assert "<script" not in shown
    assert "&lt;script&gt;y" in shown


@pytest.mark.parametrize("value", [5.0, 0.5])
def test_a_node_that_never_varied_can_be_looked_at(value: float) -> None:
    x = np.random.default_rng(0).normal(size=(200, 2))
    table = pd.DataFrame({"constant": value, "x": x[:, 0], "y": x[:, 0] + 0.1 * x[:, 1]})
    scm = ck.SCMFitter(random_seed=0).fit(nx.DiGraph([("constant", "y"), ("x", "y")]), table)
    assert f"do(constant = {value:g})" in InterventionView(scm, "constant").text


@pytest.mark.parametrize(("node", "outcome"), [("dept", None), ("total_ms", None), ("depth", "latency")])
def test_unknown_and_derived_nodes_are_refused_by_name(scm: FittedSCM, node: str, outcome: str | None) -> None:
    with pytest.raises(GraphError) as caught:
        InterventionView(scm, node, outcome)
    assert caught.value.node == (outcome or node)


def test_the_repr_is_short_and_stable(scm: FittedSCM) -> None:
    assert repr(InterventionView(scm, "depth")) == "<InterventionView of depth on total_ms>"


def test_moves_on_the_recordings_model_are_timed_and_not_judged() -> None:
    traces = ck.load_recording().filter_by_workflow("search_qa").filter_by_success()
    fitter = ck.SCMFitter(groups="question", on_failure="return", random_seed=0)
    view = InterventionView(fitter.fit(traces.causal_graph(), traces.to_trace_table()), "rerank_depth")
    positions = [position for position in range(view.slider.min, view.slider.max) if position != view.slider.value][:5]
    started = time.process_time()
    for position in positions:
        view.slider.value = position
    print(f"one move: {(time.process_time() - started) / len(positions) * 1000:.0f} ms CPU")
    assert f"do(rerank_depth = {positions[-1]})" in view.text
