from __future__ import annotations

import time

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from ipywidgets import Dropdown, FloatSlider, IntSlider

import causalkit as ck
from causalkit.errors import GraphError
from causalkit.scm.model import FittedSCM
from causalkit.widgets.intervene import InterventionView
from tests.truth import Service


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    table = Service().table(np.random.default_rng(0))
    return ck.SCMFitter(groups="question", on_failure="return", random_seed=0).fit(Service().graph, table)


@pytest.fixture(scope="module")
def labelled() -> FittedSCM:
    """Two knobs that hold labels, a load, and a step whose time they decide; a label below it all."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"cache": rng.random(600) < 0.5, "mode": rng.choice(["a", "b", "c"], 600), "load": rng.normal(size=600)}
    )
    table["step_ms"] = 9 * table["cache"] + 5 * (table["mode"] == "b") + table["load"] + rng.normal(size=600)
    table["route"] = np.select([table["step_ms"] + rng.logistic(size=600) < k for k in (2, 7)], ["x", "y"], "z")
    graph = nx.DiGraph([("cache", "step_ms"), ("mode", "step_ms"), ("load", "step_ms"), ("step_ms", "route")])
    graph.nodes["cache"]["role"] = graph.nodes["mode"]["role"] = "knob"
    return ck.SCMFitter(on_failure="return", random_seed=0).fit(graph, table).trust()


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


def test_every_root_and_knob_can_be_set_and_is_as_recorded_at_first(labelled: FittedSCM) -> None:
    view = InterventionView(labelled, outcome="step_ms")
    kinds = {node: type(row.children[1]) for node, row in view.rows.items()}
    assert kinds == {"cache": Dropdown, "load": FloatSlider, "mode": Dropdown}
    assert view.interventions == {}
    assert view.text.startswith("As it is the mean of step_ms is ")
    assert view.slider is view.rows["cache"].children[1]


def test_a_knob_with_parents_can_be_set_too() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 3)), columns=["x", "knob", "y"]).assign(y=lambda t: t["x"] + t["knob"])
    graph = nx.DiGraph([("x", "knob"), ("knob", "y"), ("x", "y")])
    graph.nodes["knob"]["role"] = "knob"
    scm = ck.SCMFitter(on_failure="return", random_seed=0).fit(graph, table, derived={"y": "sum"})
    assert list(InterventionView(scm).rows) == ["x", "knob"]


def test_moving_sets_a_node_and_its_box_takes_that_back(labelled: FittedSCM) -> None:
    view = InterventionView(labelled, outcome="step_ms")
    box, menu = view.rows["mode"].children
    menu.value = "b" if menu.value != "b" else "c"
    assert box.value
    assert f"do(mode = {menu.value})" in view.text
    view.rows["cache"].children[1].value = not view.rows["cache"].children[1].value
    assert set(view.interventions) == {"mode", "cache"}
    box.value = False
    assert set(view.interventions) == {"cache"}
    assert "mode" not in view.text


def test_a_slider_that_the_browser_rounds_was_not_moved(labelled: FittedSCM) -> None:
    view = InterventionView(labelled, outcome="step_ms")
    slider = view.rows["load"].children[1]
    slider.value += slider.step / 3
    assert view.interventions == {}
    slider.value += slider.step
    assert view.interventions == {"load": slider.value}


def test_the_button_takes_everything_back_at_once(labelled: FittedSCM) -> None:
    view = InterventionView(labelled, outcome="step_ms")
    at_first = view.reading.value, view.picture.value
    for box in (row.children[0] for row in view.rows.values()):
        box.value = True
    view.reset.click()
    assert view.interventions == {}
    assert (view.reading.value, view.picture.value) == at_first


def test_the_outcome_is_chosen_from_all_nodes_and_all_shares(labelled: FittedSCM) -> None:
    view = InterventionView(labelled, ["cache"], "route")
    assert view.outcomes.value == "route=x"
    names = ["cache", "load", "mode=a", "mode=b", "mode=c", "step_ms", "route=x", "route=y", "route=z"]
    assert sorted(view.outcomes.options) == sorted(names)
    for name in ("cache", "mode=b", "step_ms", "route=z"):
        view.outcomes.value = name
        assert f"the mean of {name} is" in view.text
        assert bytes(view.picture.value).startswith(b"\x89PNG")


def test_caveats_stand_under_the_reading(scm: FittedSCM) -> None:
    view = InterventionView(scm, ["depth", "load"], "rank_ms")
    assert "<li>" not in view.reading.value
    view.rows["load"].children[0].value = True
    assert "<p role='status'>" in view.reading.value
    assert "<li>load was not set at random: an unmeasured common cause of it and rank_ms" in view.reading.value


def test_what_the_model_refuses_stands_in_the_reading_and_the_view_goes_on() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.uniform(-3, 3, 1000), "z": rng.normal(size=1000)})
    table["y"] = np.sin(4 * table["x"]) + table["z"] + 0.1 * rng.normal(size=1000)
    fitter = ck.SCMFitter(quality="GOOD", on_failure="return", random_seed=0)
    view = InterventionView(fitter.fit(nx.DiGraph([("x", "y"), ("z", "y")]), table), "x")
    assert "its residuals depend on its parents" in view.text
    assert view.text.split("(")[0] in view.reading.value
    assert view.picture.layout.visibility == "hidden"
    view.reset.click()
    assert view.text.startswith("As it is")
    assert view.picture.layout.visibility == "visible"


def test_of_many_nodes_those_upstream_of_the_outcome_are_shown() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 24)), columns=[f"x{i:02}" for i in range(24)])
    table["y"], table["z"] = table["x00"] + rng.normal(size=200), table["x01"] + rng.normal(size=200)
    graph = nx.DiGraph([("x00", "y"), ("x01", "z")])
    graph.add_nodes_from(table)
    view = InterventionView(ck.SCMFitter(on_failure="return", random_seed=0).fit(graph, table), outcome="y")
    box, *_ = view.children
    assert list(box.children) == [view.rows["x00"]]
    view.rows["x00"].children[0].value = True
    view.outcomes.value = "z"
    assert list(box.children) == [view.rows["x01"]]
    assert view.interventions == {}
    assert repr(view) == "<InterventionView of 24 nodes on z>"


def test_whether_a_value_is_missing_cannot_be_set() -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    table = pd.DataFrame({"x": x[:, 0], "y": x[:, 0] + 0.1 * x[:, 1]})
    table.loc[::7, "x"] = np.nan
    view = InterventionView(ck.SCMFitter(random_seed=0, missing="model").fit(nx.DiGraph([("x", "y")]), table))
    assert list(view.rows) == ["x"]
    view.outcomes.value = "x"
    assert bytes(view.picture.value).startswith(b"\x89PNG")


def test_no_node_to_set_is_refused(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match="no node to set"):
        InterventionView(scm, [])


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
