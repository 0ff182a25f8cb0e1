"""A claim is held against the source: both are evaluated at the same points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import dedent
from typing import Any, NamedTuple

import numpy as np

from causalkit.code.folding import Path
from causalkit.code.formula import Formula
from causalkit.code.probes import MAGNITUDES, Point, probes, random_points
from causalkit.code.reasons import NotUnderstood
from causalkit.errors import TraceCollectionError
from causalkit.isolation import call_isolated

# How far apart two ways to compute the same may lie, in parts of the sum of the absolute terms.
_TOLERANCE = 1e-9
# Rounding of large intermediate results: some hundred operations at 2e-16 each.
_INTERMEDIATE = 1e-12
_SMALL = 10.0
# A bend below this part of the values is not told from rounding.
_BEND = 1e-6
_BENDING_POINTS = 120
_AROUND = "_causalkit_around"


def check(
    source: str | Callable[..., Any],
    node: str,
    paths: Sequence[Path],
    parameters: Sequence[str],
    growth: tuple[float, int],
    positional: Sequence[str] = (),
) -> None:
    """Hold what was folded against the source.

    Parameters
    ----------
    source : str or callable
    node : str
        Its function.
    paths : sequence of Path
    parameters : sequence of str
        Those that vary; the others keep their defaults.
    growth : (float, int)
        The largest sum of absolute coefficients met on the way, and the highest degree.
    positional : sequence of str
        The parameters that cannot be passed by name.

    Raises
    ------
    NotUnderstood
        If they differ anywhere, if a path is reached by no point, or if a formula that should bend is straight.
    """
    for path in paths:
        if path.formula.opaque and not _bends(path.formula, parameters):
            raise NotUnderstood(f"{path.formula} cannot be told from a straight line")
    points = probes(paths, parameters)
    agreed = [False] * len(paths)
    for point, result in zip(points, evaluate(source, points, node, positional), strict=True):
        index, expected = _expected(paths, point)
        found = _number(result)
        if expected is None and found is None:
            continue
        if expected is None or found is None or abs(found - expected) > _margin(paths[index], point, growth):
            if expected is None or not any(condition.near(point) for condition in paths[index].conditions):
                raise NotUnderstood(_difference(point, result, paths[index].formula, expected))
        else:
            agreed[index] = True
    if not all(agreed):
        missed = " and ".join(map(str, paths[agreed.index(False)].conditions))
        raise NotUnderstood(f"no point could be evaluated{' where ' + missed if missed else ''}")


class Raised(NamedTuple):
    """The name of the exception, or of the limit, that ended a call."""

    name: str


def evaluate(
    source: str | Callable[..., Any], points: Sequence[Point], node: str, positional: Sequence[str] = ()
) -> list[Any]:
    """Run the source at each point: text in the isolated child, a live callable here.

    Parameters
    ----------
    source : str or callable
    points : sequence of dict
        The value of each parameter that varies.
    node : str
        The function of the source.
    positional : sequence of str
        The parameters that cannot be passed by name, in their order.

    Returns
    -------
    list
        The result of each call, or `Raised`.

    Examples
    --------
    >>> evaluate("def f(x, k=1): return k / x", [{"x": 2}, {"x": 0}], "f")
    [0.5, Raised(name='ZeroDivisionError')]
    """
    names = list(points[0])
    by_place = [name for name in positional if name in names]
    if by_place != list(positional[: len(by_place)]):
        raise NotUnderstood("a positional-only parameter behind one that keeps its default")
    by_name = [name for name in names if name not in by_place]
    calls = [[point[name] for name in (*by_place, *by_name)] for point in points]
    if not isinstance(source, str):
        return [
            _attempt(source, call[: len(by_place)], dict(zip(by_name, call[len(by_place) :], strict=True)))
            for call in calls
        ]
    # Values go by place to a function around it: whatever its parameters are called, nothing is hidden by a name.
    passed = [f"values[{place}]" for place in range(len(by_place))]
    passed += [f"{name}=values[{place}]" for place, name in enumerate(by_name, len(by_place))]
    around = f"{dedent(source)}\n\ndef {_AROUND}(*values):\n    return {node}({', '.join(passed)})\n"
    try:
        outcomes = call_isolated(around, _AROUND, calls)
    except TraceCollectionError as error:
        raise NotUnderstood(str(error)) from error
    return [Raised(outcome.failure[0]) if outcome.failure else outcome.value for outcome in outcomes]


def _attempt(function: Callable[..., Any], arguments: Sequence[float], named: Mapping[str, float]) -> Any:
    try:
        return function(*arguments, **named)
    except Exception as error:  # whatever the user's function raises is its result
        return Raised(type(error).__name__)


def _expected(paths: Sequence[Path], point: Point) -> tuple[int, float | None]:
    """Return the path that a point takes and the value there; None where none is defined."""
    for index, path in enumerate(paths):
        try:
            if path.holds(point):
                return index, _number(path.formula.value(point))
        except (ArithmeticError, ValueError, TypeError):
            return index, None
    return len(paths) - 1, None


def _number(result: Any) -> float | None:
    """Return a result as a finite number, if it is one."""
    try:
        value = float(result) if isinstance(result, int | float | np.number | np.bool_) else math.nan
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _margin(path: Path, point: Point, growth: tuple[float, int]) -> float:
    size, (spread, degree) = max(map(abs, point.values()), default=0), growth
    margin = _TOLERANCE * (1 + sum(map(abs, path.formula.parts(point))))
    return margin if size <= _SMALL else margin + _INTERMEDIATE * spread * float(size) ** degree


def _difference(point: Point, result: Any, formula: Formula, expected: float | None) -> str:
    at = ", ".join(f"{name}={value!r}" for name, value in point.items())
    if isinstance(result, Raised):
        return f"the source raises {result.name} at {at}"
    if _number(result) is None:
        return f"the source gives a {type(result).__name__} that is no finite number at {at}"
    return f"the source gives {result!r} at {at}, where {formula} is {expected!r}"


def _bends(formula: Formula, parameters: Sequence[str]) -> bool:
    """Return whether no linear function of the parameters fits the formula, at some magnitude."""
    used = [name for name in parameters if name in formula.parameters]
    for magnitude in MAGNITUDES:
        rows, values = [], []
        for point in random_points(used, magnitude, _BENDING_POINTS):
            _, value = _expected([Path((), formula)], point)
            if value is not None:
                rows.append([1.0, *(point[name] / magnitude for name in used)])
                values.append(value)
        if len(values) > len(used) + 2:
            design, target = np.array(rows), np.array(values) / max(map(abs, [*values, 1e-300]))
            left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
            if np.abs(left).max() > _BEND * np.ptp(target) + _TOLERANCE:
                return True
    return False
