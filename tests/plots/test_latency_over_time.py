from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from causalkit.plots.latency_over_time import plot_latency_over_time
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts


def bins(hours: Sequence[int], *, n: int = 5, **group: object) -> pd.DataFrame:
    times = pd.Timestamp("2026-01-02", tz="UTC") + pd.to_timedelta(list(hours), unit="h")
    level = np.arange(len(hours)) + 20.0
    return pd.DataFrame({"time": times, "n": n, "median": level, "p95": 2 * level, **group})


def test_the_median_is_a_full_line_and_the_p95_a_dashed_hollow_one() -> None:
    given = plt.figure().add_subplot()
    ax = plot_latency_over_time(bins(range(3)), ax=given)
    assert ax is given
    median, p95 = ax.lines
    assert list(median.get_ydata()) == [20, 21, 22]
    assert list(p95.get_ydata()) == [40, 42, 44]
    assert (median.get_linestyle(), p95.get_linestyle()) == ("-", "--")
    assert (p95.get_markerfacecolor(), median.get_markerfacecolor()) == ("white", median.get_color())
    assert legend_texts(ax) == ["median", "p95"]
    assert ax.get_title() == "Latency over time, n = 15"
    assert ax.get_ylabel() == "latency (milliseconds)"
    assert ax.get_ylim()[0] == 0
    assert_only_the_house_colours(ax)


def test_bins_in_which_nothing_ran_break_the_line() -> None:
    median, _ = plot_latency_over_time(bins([0, 1, 2, 6, 7, 9])).lines
    values = np.asarray(median.get_ydata(), dtype=float)
    assert np.isnan(values).tolist() == [False, False, False, True, False, False, True, False]
    assert np.nanmin(values) == 20


def test_a_bin_with_a_count_of_zero_is_a_gap_too() -> None:
    frame = bins(range(3)).assign(n=[4, 0, 4], median=[9, 0, 9])
    median, _ = plot_latency_over_time(frame).lines
    assert np.isnan(np.asarray(median.get_ydata(), dtype=float)).tolist() == [False, True, False]


def test_groups_differ_in_colour_in_marker_and_mostly_in_the_line() -> None:
    frame = pd.concat([bins(range(4), group=f"v{n}") for n in range(8)])
    ax = plot_latency_over_time(frame)
    medians = ax.lines[::2]
    assert len({line.get_color() for line in medians}) == len({line.get_marker() for line in medians}) == 8
    assert len({line.get_linestyle() for line in medians}) >= 3
    assert legend_texts(ax)[:2] == ["group = v0: median", "group = v0: p95"]
    assert_only_the_house_colours(ax)


def test_of_more_than_eight_groups_the_largest_are_drawn_and_the_title_says_so() -> None:
    ax = plot_latency_over_time(pd.concat([bins([0, 1], n=n, group=n) for n in range(1, 12)]))
    assert legend_texts(ax)[::2] == [f"group = {n}: median" for n in range(4, 12)]
    assert ax.get_title().endswith("8 largest of 11 groups")


def test_any_other_column_is_a_group_and_unknown_values_are_kept() -> None:
    frame = pd.concat([bins([0, 1], mode="chat", turn=1), bins([0, 1], mode=None, turn=2)])
    assert [text.split(":")[0] for text in legend_texts(plot_latency_over_time(frame))[::2]] == [
        "mode = chat, turn = 1",
        "mode = nan, turn = 2",
    ]


def test_groups_whose_names_begin_alike_and_hold_formula_signs_stay_two() -> None:
    frame = pd.concat([bins([0, 1], question="$x_{ " + "why " * 30 + end) for end in "ab"])
    ax = plot_latency_over_time(frame)
    ax.figure.draw_without_rendering()
    assert len(ax.lines) == 4
    assert max(map(len, legend_texts(ax))) < 60


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
def test_times_of_any_zone_are_drawn_in_utc_and_the_axis_says_so(zone: str | None) -> None:
    frame = bins(range(4))
    frame["time"] = frame["time"].dt.tz_convert(zone) if zone else frame["time"].dt.tz_localize(None)
    ax = plot_latency_over_time(frame)
    assert np.asarray(ax.lines[0].get_xdata())[0] == np.datetime64("2026-01-02T00:00")
    assert "UTC" in ax.get_xlabel()
    ax.figure.draw_without_rendering()
    assert "01:00" in [label.get_text() for label in ax.get_xticklabels()]


def test_one_bin_alone_is_drawn_with_hours_around_it() -> None:
    ax = plot_latency_over_time(bins([3]))
    assert np.ptp(ax.get_xlim()) * 24 == pytest.approx(1)


def test_where_nothing_ran_the_axes_say_so() -> None:
    ax = plot_latency_over_time(bins([]))
    assert not ax.lines
    assert texts(ax) == ["nothing ran"]
    assert ax.get_title() == "Latency over time, n = 0"
