from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from causalkit.collect.failures import FailedRows, check_failure_rate, find_bias, told
from causalkit.errors import ExecutionError

GENERATOR = np.random.default_rng(0)
INPUTS = pd.DataFrame(
    {
        "x": GENERATOR.uniform(-10, 10, 2000),
        "mode": GENERATOR.choice(["fast", "deep"], 2000),
        "level": GENERATOR.integers(0, 5, 2000),
        "same": 1.0,
    }
)


def failing(where: pd.Series[bool]) -> list[int]:
    return INPUTS.index[where].tolist()


def test_failures_on_low_values_are_shown_with_both_ranges() -> None:
    (sentence,) = find_bias(INPUTS, failing(INPUTS["x"] < -9))
    assert re.match(r"x: -10 to -9\.\d+ in the failed rows, -8\.99 to 9\.99 in the others \(p < 1e-99\)", sentence)


def test_failures_in_the_middle_are_found_although_the_mean_is_the_same() -> None:
    (sentence,) = find_bias(INPUTS, failing(INPUTS["x"].abs() < 1))
    assert sentence.startswith("x: ")


def test_failures_of_one_choice_are_shown_with_their_shares() -> None:
    sentences = find_bias(INPUTS, failing((INPUTS["mode"] == "deep") & (INPUTS["x"] > -8)))
    assert any(sentence.startswith("mode = deep: 100% of the failed rows") for sentence in sentences)


def test_failures_of_one_whole_number_are_found() -> None:
    assert find_bias(INPUTS, failing(INPUTS["level"] == 3))[0].startswith("level = 3: 100% of the failed rows, 0%")


@pytest.mark.parametrize("failed", [[], list(INPUTS.index)])
def test_none_or_all_failed_rows_say_nothing_about_inputs(failed: list[int]) -> None:
    assert find_bias(INPUTS, failed) == []


def test_failures_at_random_raise_the_alarm_in_one_run_of_a_hundred_at_most() -> None:
    alarms = sum(bool(find_bias(INPUTS, GENERATOR.choice(2000, 100, replace=False).tolist())) for _ in range(300))
    # Past nine of 300 a rate of .01 is refuted at the .001 level.
    assert alarms <= 9


def test_missing_and_long_texts_are_left_untested() -> None:
    inputs = pd.DataFrame({"name": [f"run {row}" for row in range(100)], "x": [None, *range(99)]}, dtype=object)
    assert find_bias(inputs, list(range(50))) == []


def test_too_many_failures_carry_their_facts() -> None:
    failure = {"row": 0, "node": "y", "exception": "KeyError", "message": "'a'", "inputs": {"x": 1}}
    with pytest.raises(ExecutionError, match=r"1 of 2 rows.*'y': 1 x KeyError") as caught:
        check_failure_rate(FailedRows([failure]), 2, 0.4)
    assert (caught.value.failure_rate, len(caught.value.failures)) == (0.5, 1)


def test_an_exception_whose_message_fails_is_told_by_its_name() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert told(MuteError()) == ("MuteError", "<its message fails with RuntimeError>")
