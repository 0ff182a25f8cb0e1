from __future__ import annotations

import pandas as pd

from causalkit.plots.why import plot_what_drives, plot_why_bad, plot_why_changed
from causalkit.scm.causes import RootCauses
from causalkit.scm.changes import Change
from causalkit.why.findings import WhatDrives, WhyBad, WhyChanged
from tests.plots.artists import assert_only_the_house_colours, texts, tick_labels

_PART = {"contribution": 5.0, "low": 4.0, "high": 6.0, "share": 0.9, "before": 1.0, "after": 2.0, "p_value": 0.001}


def test_changed_steps_and_inputs_stand_between_before_and_after_by_their_names() -> None:
    rows = [
        {"node": "rerank_self_ms", "step": "rerank", "what": "own time", **_PART},
        {"node": "depth", "step": "depth", "what": "input mix", **_PART},
    ]
    change = Change("total_ms", "mean", 50.0, 60.5, 10.5, (9.0, 12.0), pd.DataFrame(), 0.5, (300, 300), [])
    ax = plot_why_changed(WhyChanged(change, pd.DataFrame(rows), None, ["few runs"]))
    assert tick_labels(ax) == ["before", "rerank\nown time", "depth\ninput mix", "unexplained", "after"]
    assert "1 caveat: see .caveats" in texts(ax)
    assert_only_the_house_colours(ax)


def test_causes_of_bad_runs_are_ranked_by_their_names() -> None:
    row = {"node": "rerank_self_ms", "step": "rerank", "what": "own time", "usual": 1.0, "here": 9.0, **_PART}
    found = WhyBad(RootCauses("total_ms", 9.0, 3, pd.DataFrame(), []), pd.DataFrame([row]), None, [])
    ax = plot_why_bad(found)
    assert tick_labels(ax) == ["rerank: own time"]
    assert ax.get_title() == "What moved total_ms by +9.00 in 3 rows"
    assert "0 caveats: see .caveats" in texts(ax)


def test_drivers_are_bars_of_shares_with_the_effects_of_inputs_beside() -> None:
    shares = {"share": 0.5, "low": 0.4, "high": 0.6, "experimental": False, "effect": float("nan")}
    rows = [
        {
            "node": "depth",
            "step": "depth",
            "what": "input mix",
            **shares,
            "contrast": "depth = 8 instead of 1",
            "effect": 3.0,
        },
        {"node": "rerank_self_ms", "step": "rerank", "what": "own time", **shares, "contrast": ""},
        {"node": "check_self_ms", "step": "check", "what": "own time", "share": 0.0, "low": -0.001, "high": 0.002},
    ]
    ax = plot_what_drives(WhatDrives("total_ms", pd.DataFrame(rows), None, []))
    assert set(tick_labels(ax)) == {"depth = 8 instead of 1: +3.00 (observational)", "rerank: own time"}
    assert any(text.get_text().startswith("1 more with less than 1 %: see .to_frame()") for text in ax.texts)
    assert_only_the_house_colours(ax)
