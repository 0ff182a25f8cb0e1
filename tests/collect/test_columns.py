from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.collect.columns import ColumnEngine
from causalkit.collect.elementwise import NotElementwise, Watched, find_state
from causalkit.collect.functions import bind_function, check_function
from causalkit.collect.pieces import Column

RATE = 3
SEEN: list[Any] = []
COUNT = 0


def columns(function: Callable[..., Any], **given: Any) -> tuple[np.ndarray[Any, Any] | None, str | None]:
    """Return what the engine makes of whole columns, and why it does not."""
    arrays: dict[str, Column] = {name: np.asarray(values) for name, values in given.items()}
    engine = ColumnEngine(fewest_rows=0)
    count = len(next(iter(arrays.values())))
    return engine(bind_function("y", function, list(arrays)), arrays, count), engine.reasons.get("y")


def rows(function: Callable[..., Any], **given: Any) -> list[Any]:
    return [function(*values) for values in zip(*(np.asarray(each).tolist() for each in given.values()), strict=True)]


FLOATS = np.random.default_rng(0).uniform(-10, 10, 20_000)
OTHERS = np.random.default_rng(1).uniform(-10, 10, 20_000)
FLOATS_FIRST = float(FLOATS[0])
WHOLE = np.random.default_rng(2).integers(-10, 11, 2_000)


def through_locals(x: float, y: float) -> float:
    total = RATE * x
    total += y
    return -total / 7


def with_a_loop(x: float) -> float:
    for power in range(4):
        x = 0.5 * x + power
    return x


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: 2 * x - y / 3 + 1,
        lambda x, y: x**2 + abs(y) ** 0.5,
        lambda x, y: x % 3 // 0.7 + y,
        lambda x, y: np.where(x > y, x, 0.5 * y),
        lambda x, y: np.exp(-np.abs(x)) + np.sin(y),
        lambda x, y: (x > 0) & (y > 0),
        lambda x, y: x,
        through_locals,
        with_a_loop,
    ],
)
def test_arithmetic_on_columns_gives_the_bits_of_single_values(function: Callable[..., Any]) -> None:
    given = {"x": FLOATS, "y": OTHERS} if function is not with_a_loop else {"x": FLOATS}
    whole, reason = columns(function, **given)
    assert reason is None
    assert whole is not None
    assert whole.tobytes() == np.array(rows(function, **given)).tobytes()
    assert not any(np.may_share_memory(whole, each) for each in given.values())


@pytest.mark.parametrize("function", [lambda x: x * x + 1, lambda x: x / 3, lambda x: x**3, lambda x: x // 4 - x % 3])
def test_whole_numbers_stay_what_python_makes_of_them(function: Callable[..., Any]) -> None:
    whole, reason = columns(function, x=WHOLE)
    assert reason is None
    assert whole is not None
    assert [(type(value), value) for value in whole.tolist()] == [
        (type(value), value) for value in rows(function, x=WHOLE)
    ]


def remember(x: float) -> float:
    SEEN.append(x)
    return x


def count_up(x: float) -> float:
    global COUNT
    COUNT += 1
    return x


def caught(x: float) -> float:
    try:
        return 1 / x
    except ArithmeticError:
        return 0.0


def reads_the_system(x: float) -> float:
    return x + 0.0 * sys.getrecursionlimit()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (remember, "'SEEN'"),
        (count_up, "stores"),
        (caught, "catches"),
        (reads_the_system, "'sys'"),
        (lambda x: print(x), "'print'"),
        (lambda x: x + random.random(), "'random'"),  # noqa: S311
        (lambda x: x + np.random.normal(), "'random'"),  # noqa: NPY002
        (lambda x, memory=[]: memory or x, "default"),
        (lambda x: np.sum(x), "'sum'"),
        (lambda x: x - x.mean(), "'mean'"),
        (lambda x: (lambda y: y)(x), "defines"),
    ],
)
def test_what_could_keep_or_use_state_is_refused_without_a_call(function: Callable[..., Any], told: str) -> None:
    whole, reason = columns(function, x=FLOATS)
    assert whole is None
    assert reason is not None
    assert told in reason
    assert (SEEN, COUNT) == ([], 0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1.0 if x > 0 else 2.0,
        lambda x: math.sqrt(abs(x)),
        lambda x: 1 / (x - FLOATS_FIRST),
        lambda x: np.log(x),
        lambda x: "a",
        lambda x: None,
        lambda x: x + 10**17,
        lambda x: f"{x}",
        lambda x: np.float32(0.5) * x,
    ],
)
def test_what_single_values_do_otherwise_falls_back_to_rows(function: Callable[..., Any]) -> None:
    given = WHOLE if 10**17 in function.__code__.co_consts else FLOATS
    whole, reason = columns(function, x=given)
    assert whole is None
    assert reason


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda x: (x * x) % 1000, [*range(2000), 2**33]),
        (lambda x: x * x, [*range(2000), 2**32]),
        (lambda x: x**9, [*range(100)]),
        (lambda x: x * 4 * 2**60 * 0, [*range(2000)]),
        (lambda x: (x * x) / 3, [*range(100_000_000, 100_002_000)]),
    ],
)
def test_whole_numbers_past_what_floats_hold_are_never_computed_in_arrays(
    function: Callable[..., Any], values: list[int]
) -> None:
    assert columns(function, x=np.array(values)) == (None, "its whole numbers pass 2**53")


def test_bools_that_add_up_in_one_row_of_very_many_are_found() -> None:
    x = np.zeros(100_000)
    x[777] = 1.0
    y = np.zeros(100_000)
    y[777] = 1.0
    whole, reason = columns(lambda x, y: ((x > 0.5) + (y > 0.5)) * 1.0, x=x, y=y)
    assert whole is None
    assert reason is not None
    assert "bools" in reason


@pytest.mark.parametrize(
    "function", [lambda b: -b, lambda b: b + True, lambda b: b * 2, lambda b: b / 4, lambda b: abs(b)]
)
def test_bools_are_the_numbers_that_python_takes_them_for(function: Callable[..., Any]) -> None:
    bools = np.array([True, False] * 20)
    whole, _ = columns(function, b=bools)
    assert whole is None or whole.tolist() == [function(value) for value in bools.tolist()]


def test_an_argument_changed_in_place_leaves_its_column_alone() -> None:
    def grow(x: float) -> float:
        x += 1
        x *= 2
        return x

    before = FLOATS.copy()
    whole, _ = columns(grow, x=FLOATS)
    assert whole is not None
    assert whole.tolist() == [2 * (value + 1) for value in before.tolist()]
    assert (before == FLOATS).all()


def test_a_helper_that_remembers_is_seen_through_the_function_that_calls_it() -> None:
    def calls_helper(x: float) -> float:
        return remember(x)

    assert find_state(calls_helper) == "it uses 'remember'"


def test_functions_of_one_code_are_told_apart_by_what_they_hold() -> None:
    def holding(inner: Any) -> Callable[[float], float]:
        return lambda x: inner(x) if inner else x

    harmless, harmful = holding(None), holding(remember)
    assert find_state(lambda x: harmless(x) + harmful(x)) == "it uses 'harmful'"


def test_few_rows_are_not_worth_the_check() -> None:
    engine = ColumnEngine()
    assert engine(bind_function("y", lambda x: x, ["x"]), {"x": FLOATS[:10]}, 10) is None
    assert engine.reasons == {"y": "there are few rows"}


def test_columns_of_text_are_run_by_row() -> None:
    engine = ColumnEngine(0)
    assert engine(bind_function("y", lambda x: x, ["x"]), {"x": ["a", "b"]}, 2) is None
    assert "'x'" in engine.reasons["y"]


@pytest.mark.parametrize(
    "operation",
    [lambda x: np.add.reduce(x), lambda x: x @ x, lambda x: np.sort(x), lambda x: np.add(x, 1, where=x > 0)],
)
def test_operations_over_the_column_are_refused_by_the_column_itself(operation: Callable[..., Any]) -> None:
    with pytest.raises(NotElementwise):
        operation(FLOATS.copy().view(Watched))


LEAVES = st.sampled_from(["x", "y", "k", "b", "2", "0.5", "-3", "7"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", ">", "<", "==", "&", "|"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda part: f"-{part}"),
        inner.map(lambda part: f"abs({part})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"np.where({', '.join(parts)})"),
        st.tuples(inner, inner).map(lambda parts: f"np.minimum({', '.join(parts)})"),
    ),
    max_leaves=6,
)
TABLE = {
    "x": np.random.default_rng(3).normal(size=400),
    "y": np.random.default_rng(4).uniform(-5, 5, 400).round(),
    "k": np.random.default_rng(5).integers(-4, 5, 400),
    "b": np.random.default_rng(6).random(400) < 0.01,
}


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_no_expression_gets_a_column_that_its_rows_do_not_have(expression: str) -> None:
    function = check_function("z", f"import numpy as np\ndef z(x, y, k, b): return {expression}")
    with np.errstate(all="raise", under="ignore"):
        whole, _ = columns(function, **TABLE)
        if whole is None:
            return
        single = rows(function, **TABLE)
    plain = [value.item() if isinstance(value, np.generic | np.ndarray) else value for value in single]
    assert {type(value) for value in plain} == {type(whole[0].item())}
    assert np.array(plain).tobytes() == whole.tobytes()
