from __future__ import annotations

import matplotlib.pyplot as plt

import causalkit as ck
from causalkit.plots.latency import plot_latency
from tests.plots.artists import tick_labels


def test_one_box_for_each_step_with_its_unit_and_the_number_of_runs() -> None:
    traces = ck.load_recording().filter_by_workflow("search_qa").filter_by_success()
    steps = {step.step_name for run in traces for step in run.steps}
    ax = plt.figure().add_subplot()
    assert plot_latency(traces, ax=ax) is ax
    assert len(ax.patches) == len(steps) + 1
    assert {label.split("  ")[0] for label in tick_labels(ax)} == steps | {"outside all steps"}
    assert "milliseconds" in ax.get_xlabel()
    assert f"{len(traces)} runs" in ax.get_title()
    assert len(plt.get_fignums()) == 1
