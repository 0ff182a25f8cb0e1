from __future__ import annotations

import numpy as np
import pytest

from causalkit.errors import GraphError
from causalkit.examples import shop
from causalkit.scm.fitter import SCMFitter


def test_a_run_is_the_same_run_whatever_is_done_to_it() -> None:
    before, after = shop.runs(50, random_seed=1), shop.runs(50, random_seed=1, do={"mode": "fast"})
    assert before[["depth", "cached", "load", "search_ms", "send_ms"]].equals(
        after[["depth", "cached", "load", "search_ms", "send_ms"]]
    )
    saved = before["rank_ms"] - after["rank_ms"]
    assert np.allclose(saved, np.where(before["mode"] == "careful", 15.0, 0.0))


def test_what_a_step_is_slowed_by_reaches_the_total_through_ranking() -> None:
    before, after = (shop.runs(9, random_seed=2, shift=shift)["total_ms"] for shift in ({}, {"search_ms": 10.0}))
    assert (after - before).to_numpy() == pytest.approx(14.0)


def test_a_model_of_it_finds_its_effects_and_refuses_to_set_its_total() -> None:
    scm = SCMFitter(on_failure="return", random_seed=0).fit(shop.graph(), shop.runs(1500, random_seed=3))
    effect = scm.effect("mode", "total_ms", values=("fast", "careful"))
    assert effect.interval[0] - 0.3 <= 15 <= effect.interval[1] + 0.3
    assert not effect.experimental
    assert scm.effect("depth", "total_ms").experimental
    with pytest.raises(GraphError, match="made of its parts"):
        scm.intervene({"total_ms": 1})
