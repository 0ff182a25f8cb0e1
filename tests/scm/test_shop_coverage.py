"""Intervals on a service whose equations are known: a boolean, labels and whole numbers are among its causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from causalkit.examples import shop
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import fewest

TOTAL = "total_ms"


@cache
def truth(**do: Any) -> float:
    return float(shop.runs(400_000, random_seed=10_000, do=do)[TOTAL].mean())


def mean_under(**do: Any) -> Callable[[FittedSCM], tuple[float, float, float]]:
    def ask(scm: FittedSCM) -> tuple[float, float, float]:
        of = scm.intervene(do).of(TOTAL)
        return of["low"], of["high"], truth(**do)

    return ask


def effect_of(
    treatment: str, values: tuple[Any, Any], true: float
) -> Callable[[FittedSCM], tuple[float, float, float]]:
    return lambda scm: (*scm.effect(treatment, TOTAL, values=values).interval, true)


QUESTIONS: dict[str, Callable[[FittedSCM], tuple[float, float, float]]] = {
    "a whole number is set": mean_under(depth=8),
    "a boolean is set": mean_under(cached=True),
    "a label is set": mean_under(mode="careful"),
    "a number that moves labels is set": mean_under(load=3.0),
    "two are set": mean_under(depth=1, mode="fast"),
    "effect of a whole number": effect_of("depth", (2, 6), 4 * 3 * 1.4),
    "effect of a boolean": effect_of("cached", (False, True), -8 * 1.4),
    "effect of a label": effect_of("mode", ("fast", "careful"), 15.0),
}


@pytest.fixture(scope="module")
def held(proof: bool) -> Mapping[str, list[bool]]:
    """Per question whether the truth lay within the interval, one seed after another."""
    found: dict[str, list[bool]] = {question: [] for question in QUESTIONS}
    for seed in range(200 if proof else 6):
        rows = shop.runs(600, random_seed=seed)
        scm = SCMFitter(on_failure="return", random_seed=seed).fit(shop.graph(), rows).trust()
        for question, ask in QUESTIONS.items():
            low, high, true = ask(scm)
            found[question].append(low <= true <= high)
    for question, hits in found.items():
        print(f"{question}: {np.mean(hits):.3f}")
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_intervals_hold_the_truth(held: Mapping[str, list[bool]], question: str, proof: bool) -> None:
    share = np.mean(held[question])
    assert (0.90 <= share <= 0.985) if proof else (share >= fewest(0.95, len(held[question])))
