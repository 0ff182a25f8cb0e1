from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd

from causalkit.plots.step_failures import plot_step_failures
from tests.plots.artists import assert_only_the_house_colours, texts, tick_labels

COLUMNS = ["step_name", "error_type", "n", "runs", "first", "last", "example"]
TIME = pd.Timestamp("2026-01-02", tz="UTC")


@dataclass
class Recorded:
    """What the picture asks of `Traces`."""

    rows: list[tuple[object, ...]]
    runs: int = 200

    def __len__(self) -> int:
        return self.runs

    def failure_causes(self) -> pd.DataFrame:
        return pd.DataFrame([(*row[:4], TIME, TIME, row[4]) for row in self.rows], columns=COLUMNS)


def test_each_cause_is_a_bar_with_its_number_and_the_share_of_runs() -> None:
    given = plt.figure().add_subplot()
    recorded = Recorded([("search", "TimeoutError", 30, 20, "too slow"), ("rerank", "KeyError", 4, 4, "'x'")])
    ax = plot_step_failures(recorded, ax=given)  # type: ignore[arg-type]
    assert ax is given
    assert [bar.get_width() for bar in ax.patches] == [30, 4]
    assert tick_labels(ax) == ["search: TimeoutError\n“too slow”", "rerank: KeyError\n“'x'”"]
    assert texts(ax) == ["30 (10.0 % of runs)", "4 (2.0 % of runs)"]
    assert ax.get_title() == "What failed: 34 steps in 200 runs"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert "number" in ax.get_xlabel()
    assert_only_the_house_colours(ax)


def test_the_eleventh_cause_and_all_after_it_are_drawn_together_and_hatched() -> None:
    ax = plot_step_failures(Recorded([(f"s{n}", "E", 20 - n, 20 - n, "") for n in range(13)]))  # type: ignore[arg-type]
    assert [bar.get_width() for bar in ax.patches] == [*range(20, 10, -1), 10 + 9 + 8]
    assert tick_labels(ax)[-1] == "others (3 causes)"
    assert texts(ax)[-1] == "27 (at most 13.5 % of runs)"
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False] * 10 + [True]


def test_the_share_of_the_others_is_never_more_than_all_runs() -> None:
    ax = plot_step_failures(Recorded([(f"s{n}", "E", 9, 9, "") for n in range(13)], runs=10))  # type: ignore[arg-type]
    assert texts(ax)[-1] == "27 (at most 100.0 % of runs)"


def test_a_message_is_cut_to_40_characters_on_one_line() -> None:
    ax = plot_step_failures(Recorded([("s", "E", 1, 1, "no $such_{\n" + "x" * 99)]))  # type: ignore[arg-type]
    ax.figure.draw_without_rendering()
    assert tick_labels(ax) == ["s: E\n“no $such_{ " + "x" * 28 + "…”"]


def test_a_failure_without_a_recorded_error_is_named_as_that() -> None:
    ax = plot_step_failures(Recorded([("s", None, 1, 1, None)]))  # type: ignore[arg-type]
    assert tick_labels(ax) == ["s: no error recorded"]


def test_where_nothing_failed_the_axes_say_so() -> None:
    ax = plot_step_failures(Recorded([]))  # type: ignore[arg-type]
    assert not ax.patches
    assert texts(ax) == ["no step failed"]
    assert ax.get_title() == "What failed: 0 steps in 200 runs"
