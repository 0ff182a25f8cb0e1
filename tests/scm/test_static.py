"""Mechanisms known from source: exact without data, held against data where there is some."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import FitError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.formulas import FormulaOfParents
from tests import truth

LINE = nx.DiGraph([("x", "y")])
BILL = nx.DiGraph([("units", "price"), ("units", "fee"), ("price", "total"), ("fee", "total")])
BILL_CODE = """
def price(units): return 2.5 * units * units + 1
def fee(units): return 3 if units > 4 else abs(units)
def total(price, fee): return price + fee
"""


def test_source_alone_gives_exact_mechanisms() -> None:
    scm = SCMFitter(random_seed=0).fit_static(BILL, BILL_CODE, input_ranges={"units": (0, 10)})
    mechanisms = scm.to_dict()["mechanisms"]
    assert mechanisms["price"]["terms"] == {"units^2": 2.5}
    assert mechanisms["fee"]["type"] == "static"
    assert mechanisms["total"]["coefficients"] == {"fee": 1.0, "price": 1.0}
    assert set(scm.report.to_frame()["verdict"]) == {"proven from source"}
    assert scm.intervene({"units": 6}).of("total")["mean"] == pytest.approx(2.5 * 36 + 1 + 3)
    assert scm.report.caveats == []


def test_roots_without_range_say_how_they_were_drawn() -> None:
    scm = SCMFitter(random_seed=0).fit(LINE, function_code={"y": "def y(x): return 2 * x"})
    assert any("x: no recorded values, drawn uniformly between -10 and 10" in caveat for caveat in scm.caveats)


def test_code_and_traces_that_agree_are_no_leakage() -> None:
    graph = nx.DiGraph([("input_x", "output")])
    table = pd.DataFrame({"input_x": range(1, 101)}).assign(output=lambda rows: 2 * rows["input_x"])
    scm = SCMFitter(random_seed=42).fit(graph, table, {"output": "def output(input_x): return 2 * input_x"})
    assert scm.report.r2_scores["output"] == pytest.approx(1)
    assert scm.to_dict()["mechanisms"]["output"]["coefficients"] == {"input_x": 2.0}
    assert scm.report.caveats == []
    assert scm.effect("input_x", "output").interval == pytest.approx((2, 2))


def test_code_and_traces_that_disagree_are_both_shown() -> None:
    table = pd.DataFrame({"x": np.arange(200.0)}).assign(y=lambda rows: 3 * rows["x"] + (rows.index == 7))
    with pytest.raises(FitError, match=r"disagree in 199 of 200 rows.*says 2\*x, which is 2 in row 1, where 3"):
        SCMFitter(random_seed=0).fit(LINE, table, {"y": "def y(x): return 2 * x"})


def test_what_source_does_not_prove_is_fitted() -> None:
    table = truth.two_columns(0.1).rename(columns=str.lower)
    loop = "def y(x):\n    for _ in range(2): x = x + x\n    return x"
    assert SCMFitter(random_seed=0).fit(LINE, table, {"y": loop}).report.scores[0].mechanism == "linear"
    with pytest.raises(FitError, match="source of 'y' proves no formula: a loop on line 2"):
        SCMFitter(random_seed=0).fit_static(LINE, {"y": loop})


def test_source_of_what_is_no_node_is_named() -> None:
    table = truth.two_columns(0.1).rename(columns=str.lower)
    with pytest.raises(FitError, match="function_code names 'z', which is no node; known are x, y"):
        SCMFitter(random_seed=0).fit(LINE, table, {"z": "def z(x): return x"})


def test_a_fit_needs_something_to_fit_to() -> None:
    with pytest.raises(FitError, match="give traces, function_code or both"):
        SCMFitter().fit(LINE)
    with pytest.raises(FitError, match="'y' proves no formula: it has no source"):
        SCMFitter().fit_static(LINE, {})


@pytest.mark.parametrize("expression", ["__import__('os')", "x.real", "(lambda: 1)()", "x[0]", "[x]", "open(x)"])
def test_a_formula_is_never_run_as_code(expression: str) -> None:
    with pytest.raises(FitError, match="is not understood"):
        FormulaOfParents(expression, ["x"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("-x**2 + 1", -8.0),
        ("max(x, 5) - min(x, 5)", 2.0),
        ("1 if 0 < x < 2 else 2 if x == 3 and not x > 4 else 3", 2.0),
        ("math.sqrt(x + 1) * math.pi / math.pi", 2.0),
        ("x // 2 + x % 2", 2.0),
        ("round(x / 2) + int(x / 2) + abs(-x)", 6.0),
    ],
)
def test_formulas_are_computed_as_python_would(expression: str, expected: float) -> None:
    assert FormulaOfParents(expression, ["x"]).predict(np.array([[3.0]]))[0] == pytest.approx(expected)
