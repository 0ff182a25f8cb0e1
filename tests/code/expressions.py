"""Random programs whose formula is known, because it was put together along with them by other means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

NAMES = ("x", "y", "z")
DEGREE = 8
Polynomial = dict[tuple[str, ...], Fraction]
Draw = st.DrawFn


@dataclass(frozen=True)
class Term:
    """An expression with its polynomial; None where it has none."""

    text: str
    truth: Polynomial | None

    @property
    def constant(self) -> bool:
        return self.truth is not None and not set(self.truth) - {()}


@dataclass(frozen=True)
class Program:
    """A function ``f(x, y, z)`` and its true polynomials: one if it is polynomial, two if conditional, or none."""

    source: str
    kind: str
    truths: tuple[Polynomial, ...]


def kind_of(polynomial: Polynomial) -> str:
    return ("CONSTANT", "LINEAR", "POLYNOMIAL")[min(degree(polynomial), 2)]


def degree(polynomial: Polynomial) -> int:
    return max(map(len, polynomial), default=0)


def added(left: Polynomial, right: Polynomial, sign: int = 1) -> Polynomial:
    total = {key: left.get(key, Fraction(0)) + sign * right.get(key, Fraction(0)) for key in {*left, *right}}
    return {key: value for key, value in total.items() if value}


def multiplied(left: Polynomial, right: Polynomial) -> Polynomial:
    total: Polynomial = {}
    for first, one in left.items():
        for second, other in right.items():
            total = added(total, {tuple(sorted(first + second)): one * other})
    return total


@st.composite
def programs(draw: Draw) -> Program:
    """A polynomial in three of five cases, a nonlinear formula or an early return in one each."""
    kind = draw(st.sampled_from(("polynomial", "polynomial", "polynomial", "nonlinear", "conditional")))
    lines, known = _locals(draw)
    result = draw(_terms(known, draw(st.integers(1, 4))))
    # A name that was bound anew may be a number, and a test on it no test at all.
    free = [name for name in NAMES if known[name].truth == {(name,): Fraction(1)}]
    if kind == "conditional" and not free:
        kind = "polynomial"
    if kind == "nonlinear":
        result = _made_nonlinear(draw, known, result)
    if kind == "conditional":
        return _conditional(draw, lines, free, result)
    lines.append(f"    return {result.text}")
    return Program("\n".join(["def f(x, y, z):", *lines]), kind, () if result.truth is None else (result.truth,))


def _conditional(draw: Draw, lines: list[str], free: list[str], result: Term) -> Program:
    name = draw(st.sampled_from(free))
    relation = draw(st.sampled_from(("<", "<=", ">", ">=", "==", "!=")))
    test = f"{draw(st.sampled_from((2, 0.5, -1)))} * {name} {relation} {draw(st.integers(-9, 9))}"
    assert result.truth is not None
    other = Term(f"({result.text} + {name} + 1)", added(result.truth, {(name,): Fraction(1), (): Fraction(1)}))
    assert other.truth is not None
    if draw(st.booleans()):
        lines.append(f"    return {result.text} if {test} else {other.text}")
    else:
        lines += [f"    if {test}:", f"        return {result.text}", f"    return {other.text}"]
    return Program("\n".join(["def f(x, y, z):", *lines]), "conditional", (result.truth, other.truth))


def _made_nonlinear(draw: Draw, known: Mapping[str, Term], beside: Term) -> Term:
    number = draw(st.integers(2, 9))
    inner = draw(_terms(known, 2).filter(lambda term: not term.constant))
    shapes = (
        *("abs({i})", "max({i}, {n})", "min({i}, -{n})", "({i}) // {n}", "({i}) % {n}", "int({i})", "round({i})"),
        *("{n} / (({i})**2 + 1)", "math.sqrt(({i})**2 + {n})", "math.atan({i})"),
    )
    shape = draw(st.sampled_from(shapes)).format(i=inner.text, n=number)
    return Term(f"({beside.text} + {number} * ({shape}))", None)


def _locals(draw: Draw) -> tuple[list[str], dict[str, Term]]:
    """Assignments of several forms, some of which bind a name anew."""
    known = {name: Term(name, {(name,): Fraction(1)}) for name in NAMES}
    lines = ["    import math"]
    for _ in range(draw(st.integers(0, 3))):
        target, term = draw(st.sampled_from(("a", "b", *NAMES))), draw(_terms(known, 2))
        form = draw(st.sampled_from(("=", "=", "tuple", "augmented", "annotated")))
        if form == "tuple":
            lines.append(f"    {target}, c = {term.text}, {target if target in known else 1}")
            known["c"] = Term("c", known[target].truth if target in known else {(): Fraction(1)})
        elif form == "augmented" and target in known:
            lines.append(f"    {target} -= {term.text}")
            before, after = known[target].truth, term.truth
            assert before is not None
            assert after is not None
            term = Term(target, added(before, after, -1))
        else:
            lines.append(f"    {target}{': float' if form == 'annotated' else ''} = {term.text}")
        known[target] = Term(target, term.truth)
    return lines, known


@st.composite
def _terms(draw: Draw, known: Mapping[str, Term], depth: int) -> Term:
    """A polynomial expression of at most this depth."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(st.one_of(st.sampled_from([*known.values()]), _numbers()))
    left = draw(_terms(known, depth - 1))
    form = draw(st.sampled_from(("+", "+", "-", "-", "*", "*", "/", "**", "negated", "scaled")))
    assert left.truth is not None
    if form == "negated":
        return Term(f"(-{left.text})", multiplied({(): Fraction(-1)}, left.truth))
    if form == "/":
        divisor = draw(st.sampled_from((2, 3, 4, 0.1, -5)))
        return Term(f"({left.text} / {divisor})", multiplied({(): 1 / Fraction(str(divisor))}, left.truth))
    if form == "**" and degree(left.truth) <= DEGREE // 2:
        return Term(f"({left.text} ** 2)", multiplied(left.truth, left.truth))
    right = draw(_numbers() if form == "scaled" else _terms(known, depth - 1))
    assert right.truth is not None
    if form in ("*", "scaled") and degree(left.truth) + degree(right.truth) <= DEGREE:
        return Term(f"({left.text} * {right.text})", multiplied(left.truth, right.truth))
    sign = -1 if form == "-" else 1
    return Term(f"({left.text} {'-' if sign < 0 else '+'} {right.text})", added(left.truth, right.truth, sign))


def _numbers() -> st.SearchStrategy[Term]:
    numbers = st.sampled_from(("0", "1", "2", "3", "7", "0.5", "0.1", "2.5", "1e3", "True"))
    return numbers.map(lambda text: Term(text, added({(): Fraction(1 if text == "True" else text)}, {})))
