from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import TraceFormatError
from causalkit.workflows.dates import read_bound

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("given", "instant", "naive"),
    [
        ("2026-11-21T12:00:00Z", NOON, False),
        ("2026-11-21T13:00+01:00", NOON, False),
        (" 2026-11-21 12:00 ", NOON, True),
        (NOON, NOON, False),
        (NOON.astimezone(EAST), NOON, False),
        (NOON.replace(tzinfo=None), NOON, True),
        (pd.Timestamp(NOON), NOON, False),
        (pd.Timestamp("2026-11-21 12:00"), NOON, True),
        (np.datetime64("2026-11-21T12:00:00"), NOON, True),
    ],
)
def test_an_instant_is_the_same_however_it_is_written(given: Any, instant: datetime, naive: bool) -> None:
    bound = read_bound(given, "start")
    assert bound is not None
    assert (bound.earliest, bound.latest, bound.naive, bound.given) == (instant, instant, naive, given)


@pytest.mark.parametrize("day", ["2026-11-21", "20261121", "2026-W47-6", date(2026, 11, 21)])
def test_a_day_is_all_its_moments(day: Any) -> None:
    bound = read_bound(day, "end")
    assert bound is not None
    assert bound.earliest == datetime(2026, 11, 21, tzinfo=UTC)
    assert bound.latest == datetime(2026, 11, 21, 23, 59, 59, 999_999, tzinfo=UTC)
    assert bound.naive


@given(st.dates())
def test_any_day_is_one(day: date) -> None:
    bound = read_bound(day.isoformat(), "end")
    assert bound is not None
    assert bound.latest - bound.earliest == timedelta(days=1) - timedelta(microseconds=1)


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "yesterday",
        "2026-13-01",
        "21.11.2026",
        5,
        1.5,
        pd.NaT,
        [1],
        b"2026-11-21",
        datetime.min.replace(tzinfo=EAST),
    ],
)
def test_what_is_no_date_is_an_error_that_says_how_to_write_one(nonsense: Any) -> None:
    with pytest.raises(
        TraceFormatError, match=r"^start=.* is no date; write one as '2026-11-21' or .*, or give a datetime$"
    ):
        read_bound(nonsense, "start")


def test_nothing_is_no_bound() -> None:
    assert read_bound(None, "start") is None
