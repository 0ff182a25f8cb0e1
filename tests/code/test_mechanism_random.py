from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import HealthCheck, given, settings

from causalkit.code.mechanism import StaticMechanism, infer_mechanism
from causalkit.collect.functions import check_function
from tests.code.expressions import NAMES, Polynomial, Program, kind_of, programs

EXPECTED = {"nonlinear": "NONLINEAR", "conditional": "CONDITIONAL"}


def test_no_claim_on_random_programs_is_wrong_and_few_are_missing(proof: bool) -> None:
    made: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    @settings(max_examples=2000 if proof else 300, suppress_health_check=list(HealthCheck))
    @given(programs())
    def run(program: Program) -> None:
        mechanism = infer_mechanism(program.source)
        seen[program.kind] += 1
        if mechanism.understood:
            made[program.kind] += 1
            _assert_right(program, mechanism)

    run()
    for kind, count in seen.items():
        print(f"{kind}: {made[kind]} of {count} claimed")
        assert made[kind] >= 0.95 * count, kind


def _assert_right(program: Program, mechanism: StaticMechanism) -> None:
    if program.kind == "polynomial":
        _assert_same(mechanism, program.truths[0], program.source)
        return
    assert mechanism.type == EXPECTED[program.kind], program.source
    for (_, branch), truth in zip(mechanism.branches, program.truths, strict=True):
        _assert_same(branch, truth, program.source)
    assert mechanism.expression is not None
    text = f"from math import sqrt, atan\ndef f(x, y, z): return {mechanism.expression}"
    claim, source = check_function("f", text), check_function("f", program.source)
    for point in _fresh_points():
        assert math.isclose(claim(*point), source(*point), rel_tol=1e-6, abs_tol=1e-6), (program.source, point)


def _assert_same(mechanism: StaticMechanism, truth: Polynomial, source: str) -> None:
    assert mechanism.type == kind_of(truth), source
    assert set(mechanism.variables) == {name for product in truth for name in product}, source
    claimed = mechanism.coefficients | ({"": mechanism.offset} if mechanism.offset else {})
    largest = max(map(abs, truth.values()), default=Fraction(1))
    by_text = {"*".join(_power(name, product) for name in NAMES if name in product): c for product, c in truth.items()}
    assert claimed.keys() == by_text.keys(), source
    for product, coefficient in by_text.items():
        assert abs(claimed[product] - float(coefficient)) <= 1e-9 * float(largest), (source, product)


def _power(name: str, product: tuple[str, ...]) -> str:
    count = product.count(name)
    return name if count == 1 else f"{name}**{count}"


def _fresh_points() -> list[tuple[float, ...]]:
    generator = np.random.default_rng(1)
    return [tuple(map(float, generator.uniform(-3, 3, len(NAMES)))) for _ in range(15)]
