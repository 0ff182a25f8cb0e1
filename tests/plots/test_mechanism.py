from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from causalkit.errors import GraphError
from causalkit.plots import plot_ladder, plot_mechanism
from causalkit.scm.fitter import SCMFitter
from tests import truth

FITTER = SCMFitter(random_seed=42, on_failure="return")


def test_a_node_of_one_parent_is_drawn_as_rows_and_curve() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Y")]), truth.nonlinear())
    ax = plot_mechanism(scm, "Y")
    rows, curve = ax.get_lines()
    assert len(rows.get_xdata()) > 300
    assert np.interp(2.0, np.ravel(curve.get_xdata()), np.ravel(curve.get_ydata())) == pytest.approx(4, abs=0.3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("X", "Y")
    assert ax.get_title().startswith("Y: polynomial, R2 0.9")


def test_a_node_of_more_parents_is_drawn_against_what_the_mechanism_says() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Z"), ("Y", "Z")]), truth.multi_parent())
    rows, line = plot_mechanism(scm, "Z").get_lines()
    assert np.corrcoef(rows.get_xdata(), rows.get_ydata())[0, 1] > 0.99
    assert list(line.get_xdata()) == list(line.get_ydata())


def test_a_failed_node_says_so_in_its_title() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Y")]), truth.two_columns(5))
    assert "below the threshold" in plot_mechanism(scm, "Y").get_title()


def test_a_root_has_no_mechanism_to_draw() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Y")]), truth.nonlinear())
    with pytest.raises(GraphError, match="'X' has no mechanism; known are Y"):
        plot_mechanism(scm, "X")


def test_every_rung_that_was_tried_is_drawn_and_the_chosen_one_named() -> None:
    scm = FITTER.fit(nx.DiGraph([("X", "Y")]), truth.nonlinear())
    ax = plot_ladder(scm.report)
    assert [text.get_text() for text in ax.texts] == ["linear", "polynomial (chosen)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Y"]
