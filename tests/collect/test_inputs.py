from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from causalkit.collect.inputs import generate_noise, generate_random_inputs
from causalkit.errors import TraceCollectionError


def draw(given_range: Any, num_samples: int = 200) -> pd.Series[Any]:
    return generate_random_inputs(["x"], {"x": given_range}, num_samples, random_seed=3)["x"]


def test_two_integers_give_whole_numbers_with_both_ends() -> None:
    drawn = draw((1, 3))
    assert set(drawn) == {1, 2, 3}
    assert pd.api.types.is_integer_dtype(drawn)


@pytest.mark.parametrize("bounds", [(1.0, 3.0), (1, 3.0), (np.float64(1), 3)])
def test_a_bound_with_a_point_gives_real_numbers(bounds: tuple[Any, Any]) -> None:
    drawn = draw(bounds)
    assert drawn.between(1, 3).all()
    assert drawn.nunique() > 150


def test_a_list_gives_choices_whose_types_stay_as_they_are() -> None:
    assert {type(value) for value in draw([1, "a"])} == {int, str}
    assert set(draw([0, 10])) == {0, 10}


@pytest.mark.parametrize("constant", [7, 2.5, True, "fast"])
def test_a_single_value_is_a_constant(constant: Any) -> None:
    assert draw(constant).tolist() == [constant] * 200


def test_a_frozen_distribution_draws_through_the_seeded_stream() -> None:
    drawn = draw(stats.norm(50, 1))
    assert abs(drawn.mean() - 50) < 0.5
    assert drawn.equals(draw(stats.norm(50, 1)))


def test_a_callable_receives_generator_and_size() -> None:
    drawn = draw(lambda generator, size: pd.Series(generator.normal(size=size), index=range(size, 0, -1)))
    assert len(drawn) == drawn.nunique() == 200


def test_a_name_without_a_range_draws_between_minus_ten_and_ten_and_is_listed() -> None:
    frame = generate_random_inputs(["x", "y"], {"y": (0, 1)}, 500, random_seed=0)
    assert frame["x"].between(-10, 10).all()
    assert frame["x"].min() < -9 < 9 < frame["x"].max()
    assert frame.attrs["default_ranges"] == ["x"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ((3, 1), "low <= high"),
        ((0.0, float("nan")), "finite"),
        ((0.0, float("inf")), "finite"),
        ((1, 2, 3), r"a list for choices"),
        (("a", "b"), "a list for choices"),
        ((False, True), "a list for choices"),
        ([], "at least one"),
        ([1, float("nan")], "number"),
        ([[1], [2]], "number"),
        (float("nan"), "number"),
        (None, "number"),
        ({1, 2}, "number"),
        ((-(2**70), 2**70), "cannot be drawn"),
        (lambda generator, size: [1.0], "200 values"),
        (lambda generator, size: 1 / 0, "division by zero"),
        (stats.multivariate_normal([0, 0]), "200 values"),
    ],
)
def test_a_bad_range_names_the_parameter_and_what_to_write(bad: Any, told: str) -> None:
    with pytest.raises(TraceCollectionError, match=told) as caught:
        draw(bad)
    assert caught.value.parameter == "x"
    assert "'x'" in str(caught.value)


def test_a_range_for_an_unknown_name_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match=r"'xx'.*'x'"):
        generate_random_inputs(["x"], {"xx": (0, 1)}, 3)


@pytest.mark.parametrize("num_samples", [0, -1, 2.5, True])
def test_less_than_one_sample_is_refused(num_samples: Any) -> None:
    with pytest.raises(TraceCollectionError, match="num_samples"):
        generate_random_inputs(["x"], None, num_samples)


def test_no_names_give_rows_without_columns() -> None:
    assert generate_random_inputs([], None, 4).shape == (4, 0)


def test_the_global_generators_are_left_alone() -> None:
    random.seed(1)
    before, numpy_before = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    generate_random_inputs(["x", "y"], {"x": stats.norm(), "y": [1, 2]}, 10, random_seed=0)
    assert random.getstate() == before
    assert str(np.random.get_state()) == numpy_before  # noqa: NPY002


@settings(max_examples=25, deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 2**40))
def test_no_column_depends_on_the_order_or_presence_of_the_others(names: list[str], seed: int) -> None:
    ranges = {"a": (0, 9), "b": ["u", "v"], "c": (0.0, 1.0)}
    whole = generate_random_inputs(["a", "b", "c", "d"], ranges, 5, random_seed=seed)
    shuffled = generate_random_inputs(names, dict(reversed(ranges.items())), 5, random_seed=seed)
    pd.testing.assert_frame_equal(shuffled[["a", "b", "c", "d"]], whole)
    alone = generate_random_inputs(["d"], None, 5, random_seed=seed)
    assert alone["d"].equals(whole["d"])


REAL = pd.DataFrame({"a": range(50), "b": [f"run {row}" for row in range(50)], "c": [row / 2 for row in range(50)]})


@pytest.mark.parametrize("given_ranges", [REAL, {("a", "b", "c"): REAL}, REAL[["c", "a", "b"]]])
def test_real_rows_are_drawn_whole_so_that_what_goes_together_stays_together(given_ranges: Any) -> None:
    drawn = generate_random_inputs(["d", "a", "b", "c"], given_ranges, 500, random_seed=1)
    assert (drawn["b"] == "run " + drawn["a"].astype(str)).all()
    assert (drawn["c"] == drawn["a"] / 2).all()
    assert drawn["a"].nunique() == 50
    assert (drawn.attrs["default_ranges"], drawn.attrs["real_rows"]) == (["d"], ["a", "b", "c"])
    assert drawn["a"].tolist() == generate_random_inputs("abc", REAL, 500, random_seed=1)["a"].tolist()


def test_real_rows_keep_the_types_of_their_columns() -> None:
    drawn = generate_random_inputs("abc", REAL, 5)
    assert [type(drawn[name].tolist()[0]) for name in "abc"] == [int, str, float]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (REAL.iloc[:0], "no rows"),
        ({("a", "b"): REAL}, "no DataFrame with these columns"),
        ({("a", "b"): 3}, "no DataFrame with these columns"),
        ({"a": (0, 1), ("a", "b"): REAL[["a", "b"]]}, "two ranges"),
        (pd.DataFrame({"a": [[1]]}), "no numbers, bools or texts"),
        (pd.DataFrame({"other": [1]}), "'other'"),
    ],
)
def test_real_rows_that_cannot_be_drawn_from_are_refused(bad: Any, told: str) -> None:
    with pytest.raises(TraceCollectionError, match=told):
        generate_random_inputs("abc", bad, 3)


@pytest.mark.parametrize("noise", [2.0, 2, stats.norm(0, 2), lambda generator, size: generator.normal(0, 2, size)])
def test_noise_is_a_deviation_a_distribution_or_a_callable(noise: Any) -> None:
    drawn = generate_noise({"y": noise}, ["x", "y"], 4000, random_seed=1)
    assert list(drawn) == ["y"]
    assert abs(drawn["y"].std() - 2) < 0.15
    assert drawn.equals(generate_noise({"y": noise}, ["y"], 4000, random_seed=1))


@pytest.mark.parametrize("noise", [-1.0, float("nan"), "1", True, None, [1], lambda generator, size: ["a"] * size])
def test_noise_that_is_none_is_refused(noise: Any) -> None:
    with pytest.raises(TraceCollectionError, match=r"'y'.*standard deviation") as caught:
        generate_noise({"y": noise}, ["y"], 3)
    assert caught.value.parameter == "y"


def test_noise_for_an_unknown_node_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match="'yy'"):
        generate_noise({"yy": 1.0}, ["y"], 3)


def test_noise_is_not_drawn_from_the_stream_of_the_inputs() -> None:
    def normal(generator: np.random.Generator, size: int) -> Any:
        return generator.normal(size=size)

    inputs = generate_random_inputs(["y"], {"y": normal}, 50, random_seed=1)
    assert not np.allclose(inputs["y"], generate_noise({"y": normal}, ["y"], 50, random_seed=1)["y"])
