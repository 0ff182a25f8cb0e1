from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

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
