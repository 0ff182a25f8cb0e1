from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.wording import interval, number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (0.1, "0.10"), (-0.1, "-0.10"), (0.0999, "0.1"), (0.00123, "0.0012"), (1234.567, "1234.57")],
)
def test_a_number_has_two_decimals_or_two_digits_where_it_is_small(value: float, text: str) -> None:
    assert number(value) == text


def test_a_signed_number_shows_its_plus() -> None:
    assert number(2, signed=True) == "+2.00"
    assert number(-0.002, signed=True) == "-0.002"


def test_an_interval_names_both_ends() -> None:
    assert interval((-1, 2.5)) == "-1.00 to 2.50"
    assert interval((-1, 2.5), signed=True) == "-1.00 to +2.50"


@given(st.floats(-1e9, 1e9))
def test_no_number_is_off_by_more_than_what_is_shown(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, abs=0.0051, rel=0.051)
