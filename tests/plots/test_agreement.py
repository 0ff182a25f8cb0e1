from __future__ import annotations

from fractions import Fraction

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from causalkit.operators.findings import EnsembleDisagreement, JudgeAccuracy
from causalkit.operators.intervals import share
from tests.plots.artists import assert_only_the_house_colours, texts

LEVELS = {"3/3": share([1] * 45 + [0] * 5), "2/3": share([1, 0] * 20)}


def disagreement(stages: list[str | None], measure: str = "non_unanimous") -> EnsembleDisagreement:
    calls = pd.DataFrame({"stage": pd.Series(stages, dtype=object), "disagreement": [0.0, 1.0] * (len(stages) // 2)})
    return EnsembleDisagreement(calls, [], measure, tuple(range(len(stages))))


def test_each_level_is_a_point_with_its_interval_and_number() -> None:
    given = plt.figure().add_subplot()
    ax = JudgeAccuracy(LEVELS, [], 0, 0).plot(ax=given)
    assert ax is given
    assert ax.lines[0].get_ydata().tolist() == [0.9, 0.5]
    ends = [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()]
    assert ends == [[*LEVELS["3/3"].interval], [*LEVELS["2/3"].interval]]
    assert texts(ax) == ["0.90\nn = 50", "0.50\nn = 40"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["3/3", "2/3"]
    assert ax.get_title() == "How often judges are right, 90 verdicts"
    assert "interval" in ax.get_ylabel()
    assert_only_the_house_colours(ax)


def test_many_levels_stand_on_a_scale_no_wider_than_other_pictures() -> None:
    levels = {f"{k}/{n}": share([1] * k + [0] * (n - k)) for n in range(3, 11) for k in range(n, 0, -1)}
    ax = JudgeAccuracy(levels, [], 0, 0).plot()
    (points,) = (drawn for drawn in ax.collections if isinstance(drawn, PathCollection))
    places, right = points.get_offsets().T
    shares = [float(Fraction(level)) for level in levels]
    assert list(places) == pytest.approx(shares, abs=0.07)
    assert len(set(places)) == len(levels)
    assert list(right) == pytest.approx([estimate.value for estimate in levels.values()])
    assert ax.figure.get_figwidth() <= 7.5
    assert ax.get_title() == f"How often judges are right, {sum(each.n for each in levels.values())} verdicts"
    assert_only_the_house_colours(ax)


def test_levels_are_named_on_the_scale_unless_another_of_more_verdicts_takes_the_room() -> None:
    levels = {f"{k}/12": share([1, 0] * 9) for k in range(12, 4, -1)}
    assert texts(JudgeAccuracy(levels, [], 0, 0).plot()) == [*levels]
    crowded = {f"{k}/1000": share([1, 0] * (k - 400)) for k in range(507, 500, -1)}
    assert texts(JudgeAccuracy(crowded, [], 0, 0).plot()) == ["507/1000"]


def test_points_are_larger_the_more_verdicts_there_are() -> None:
    levels = {f"{k}/9": share([1, 0] * k) for k in range(9, 0, -1)}
    (points,) = (d for d in JudgeAccuracy(levels, [], 0, 0).plot().collections if isinstance(d, PathCollection))
    assert points.get_sizes().tolist() == sorted(points.get_sizes(), reverse=True)
    assert len(set(points.get_sizes())) == 9


def test_without_levels_the_axes_say_so() -> None:
    ax = JudgeAccuracy({}, ["left out"], 3, 0).plot()
    ax.figure.draw_without_rendering()
    assert texts(ax) == ["nothing to draw"]


def test_disagreement_has_a_point_for_each_stage_also_for_none() -> None:
    ax = disagreement(["$a_{", "$a_{", None, None]).plot()
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["$a_{", "(no stage)"]
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.5]
    assert ax.get_ylabel().startswith("share of calls that are not unanimous")
    assert_only_the_house_colours(ax)


def test_other_measures_are_named() -> None:
    assert disagreement(["a", "a"], "entropy").plot().get_ylabel().startswith("disagreement (entropy; 0 to 1)")
