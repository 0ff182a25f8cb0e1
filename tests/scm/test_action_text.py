"""Interventions written as text: what is understood, what is refused and where, and that nothing is run."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from causalkit.errors import GraphError
from causalkit.scm.action_text import parse_actions
from causalkit.scm.interventions import Formula, Scale, Shift, check_interventions, describe

NODES = ["x", "y", "v", "ok", "total ms", "größe"]
LEVELS = {"v": ("deep", "fast", "two words", "a`b`c"), "ok": (False, True)}


def _parsed(text: str) -> dict[str, Any]:
    return parse_actions(text, NODES, LEVELS)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("x=5", 5), ("x = -5", -5), ("x=2*3+1", 7), ("x=1e3", 1000), ("x=max(1, 2, 3)", 3),
        ("x=x+2", Shift(2)), ("x=2+x", Shift(2)), ("x=x-2", Shift(-2)), ("x=x+(1+1)", Shift(2)),
        ("x=x*0.5", Scale(0.5)), ("x=0.5*x", Scale(0.5)), ("x=x/2", Scale(0.5)), ("x=-x", Scale(-1)),
    ],
)  # fmt: skip
def test_numbers_shifts_and_scalings_are_what_they_are(text: str, action: Any) -> None:
    assert _parsed(f"do({text})") == _parsed(text) == {"x": action}


@pytest.mark.parametrize("text", ["v=fast", "v='fast'", 'v="fast"', ' do( v =\n"fast" )'])
def test_a_label_stands_with_and_without_quotes(text: str) -> None:
    assert _parsed(text) == {"v": "fast"}


def test_labels_that_are_no_names_stand_in_quotes() -> None:
    assert _parsed("v='two words', ok=True") == {"v": "two words", "ok": True}
    assert _parsed("do(v='a`b`c', `total ms`=5)") == {"v": "a`b`c", "total ms": 5}


@pytest.mark.parametrize(
    ("text", "at_three"),
    [("2*x + 1", 7), ("x**2", 9), ("max(x, 4)", 4), ("abs(1 - x)", 2), ("2/x", 2 / 3), ("-(x + 1)", -4), ("+x", 3),
     ("sqrt(x)", 3**0.5), ("exp(log(x))", 3), ("min(x, 2, 9)", 2), ("x", 3), ("2**(-x)", 0.125)],
)  # fmt: skip
def test_any_other_arithmetic_of_the_node_is_a_formula_that_shows_itself(text: str, at_three: float) -> None:
    action = _parsed(f"do(x={text})")["x"]
    assert isinstance(action, Formula)
    assert action(np.full((4, 2), 3.0)) == pytest.approx(np.full((4, 2), at_three))
    assert describe({"x": action}) == f"do(x = {text})"


def test_names_that_are_no_python_names_stand_in_backticks_and_may_be_used_in_formulas() -> None:
    actions = _parsed("do(`total ms`=`total ms`*2+1, `größe`=größe+1)")
    assert actions["total ms"](np.array([3.0])) == [7]
    assert actions["größe"] == Shift(1)


def test_several_interventions_are_told_in_the_order_they_stand_in() -> None:
    assert describe(_parsed("do(y=y+2, v=fast, x=5)")) == "do(y +2, v = fast, x = 5)"


REFUSED = [
    ("", 1, "no intervention"),
    (" \n", 1, "no intervention"),
    ("do(x=y)", 6, "'y' is another node"),
    ("do(x=x+ab)", 8, "'ab' is neither"),
    ("do(v=slow)", 6, "'slow' is neither"),
    ("do(größe=1, z=1)", 13, "'z' is no node"),
    ("do(x=1, x=2)", 9, "acted on twice"),
    ("do(x=1, `x`=2)", 9, "acted on twice"),
    ("do(x=(1)", 3, "never closed"),
    ("do(x=1))", 8, "unmatched"),
    ("do(x=1) y", None, "breaks off"),
    ("do(x=1), 2", 1, "more than one"),
    ("do(x=1)(y=2)", 1, "more than one"),
    ("do(x=1).y", 1, "more than one"),
    ("do(x=1) # really", 8, "something follows"),
    ("do(x==5)", 4, "not of the form"),
    ("do(5)", 4, "not of the form"),
    ("do(x=)", None, "breaks off"),
    ("do(**{'x': 1})", 4, "names no node"),
    ("x", 1, "not of the form"),
    ("x=1 y=2", None, "breaks off"),
    ("total ms=1", None, "breaks off"),
    ("x=x.real", 3, "not understood"),
    ("x=print(x)", 3, "not understood"),
    ("x=x.__class__()", 3, "not understood"),
    ("x=lambda: 1", 3, "not understood"),
    ("x=[i for i in (1, 2)]", 3, "not understood"),
    ("x=f'{x}'", 3, "not understood"),
    ("x=b'1'", 3, "not understood"),
    ("x=1j", 3, "not understood"),
    ("x=x%2", 3, "not understood"),
    ("x=x if x else 1", 3, "not understood"),
    ("x=min(x)", 3, "not understood"),
    ("x=log(x, 2)", 3, "not understood"),
    ("x=max(*x)", 3, "not understood"),
    ("x=1+True", 5, "not understood"),
    ("x=9**9**9", 3, "not finite"),
    ("x=x+1e999", 3, "not finite"),
    ("x=x/0", 3, "not finite"),
    ("x=(-8)**0.5", 3, "not finite"),
    ("x=" + "9" * 1000, 3, "not finite"),
    ("x=" + "1" * 2000, 2001, "2000 characters"),
    ("x=" + "-" * 1500 + "x", None, "at position"),
    ("x=" + "x+" * 900 + "x", None, "nested"),
    ("x=" + "(" * 900 + "x" + ")" * 900, None, "at position"),
    ("x=\0", None, "at position"),
]


@pytest.mark.parametrize(("text", "position", "why"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_understood_is_refused_at_its_position(text: str, position: int | None, why: str) -> None:
    with pytest.raises(GraphError, match=why) as caught:
        _parsed(text)
    assert caught.value.text == text
    assert 1 <= caught.value.position <= len(text) + 1
    assert position in (None, caught.value.position)
    assert "\n" not in str(caught.value)


PIECES = ["do(", ")", "(", "=", "==", ",", "x", "y", "v", "ok", "`total ms`", "`", "fast", "True", "5", "0.5", "9**9",
          "+", "-", "*", "/", "**", "max", "log", ".", "'", '"', "\\", "#", "[", "{", ":", ":=", "lambda", "f'", "é",
          "ﬁ", " ", "\n", "\ud800"]  # fmt: skip


@settings(max_examples=300)
@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("\ud800")
@example("x='\ud800'")
@example("x='\\d'")
@example("x=1if 1else 2")
@example("x=1 is 1")
@example("\uff44\uff4f(x=1)")
def test_any_text_is_read_or_refused_and_nothing_else_happens(text: str) -> None:
    try:
        actions = _parsed(text)
    except GraphError:
        return
    assert set(actions) <= set(NODES)
    for action in actions.values():
        assert isinstance(action, bool | float | str | Shift | Scale | Formula)
        if isinstance(action, Formula):
            assert np.shape(action(np.ones((3, 1)))) == (3, 1)


def test_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("x=print(1)", "x=(print(1))+x", "x=x+[print(1)][0]", "print(1)", "x=f'{print(1)}'"):
        with pytest.raises(GraphError):
            _parsed(text)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("asked", [None, 5, [("x", 5)], {"x"}])
def test_what_is_neither_mapping_nor_text_is_refused(asked: Any) -> None:
    with pytest.raises(GraphError, match="interventions cannot be"):
        check_interventions(asked, nx.DiGraph([("x", "y")]))


@pytest.mark.parametrize("action", [None, [1], True, float("nan"), float("inf"), 10**400, np.array([1.0]), "5", 1j])
def test_a_number_is_not_set_to_what_is_none(action: Any) -> None:
    with pytest.raises(GraphError, match="'x' cannot be set to"):
        check_interventions({"x": action}, nx.DiGraph([("x", "y")]))


@pytest.mark.parametrize("action", [None, [1], np.array(["deep", "fast"]), "slow", Shift(1), float("nan"), len])
def test_a_label_is_one_of_the_labels(action: Any) -> None:
    with pytest.raises(GraphError, match="its labels are 'deep', 'fast'"):
        check_interventions({"v": action}, nx.DiGraph([("v", "y")]), {"v": ("deep", "fast")})
