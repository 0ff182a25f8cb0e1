"""The points at which a claim is held against its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import numpy as np

from causalkit.code.conditions import Condition
from causalkit.code.folding import Path
from causalkit.streams import stream

Point = dict[str, float]

MAGNITUDES = (1.0, 10.0, 1e3, 1e6)
_POINTS = 200
# So many more are looked through for paths that the first ones miss, and so many kept of each path.
_MORE, _EACH = 3_000, 5
_BESIDE = (0.0, 0.5, -0.5, 1.0, -1.0, 20.0, -20.0)


def probes(paths: Sequence[Path], parameters: Sequence[str]) -> list[Point]:
    """Return points of several magnitudes, whole and not, some of them at the borders between paths.

    Parameters
    ----------
    paths : sequence of Path
    parameters : sequence of str

    Returns
    -------
    list of dict of str to number
        200, and some more where a path is rarely taken; always the same ones.

    Examples
    --------
    >>> points = probes([Path((), None)], ["x"])
    >>> len(points), points[:2]
    (200, [{'x': 0}, {'x': 1}])
    """
    candidates = _candidates([condition for path in paths for condition in path.conditions], parameters)
    points = list(islice(candidates, _POINTS))
    counts = [sum(map(path.reached, points)) for path in paths]
    if len(paths) > 1 and min(counts) < _EACH:
        for point in islice(candidates, _MORE):
            for index, path in enumerate(paths):
                if counts[index] < _EACH and path.reached(point):
                    counts[index] += 1
                    points.append(point)
    return points


def random_points(parameters: Sequence[str], magnitude: float, count: int) -> list[Point]:
    """Return points of one magnitude, the first half of them whole.

    Examples
    --------
    >>> random_points(["x"], 10.0, 2)
    [{'x': 0}, {'x': 1.999...}]
    """
    generator = stream(0, f"static mechanisms {magnitude}")
    return [_draw(generator, parameters, magnitude, whole=2 * index < count) for index in range(count)]


def _candidates(conditions: Sequence[Condition], parameters: Sequence[str]) -> Iterator[Point]:
    yield dict.fromkeys(parameters, 0)
    yield dict.fromkeys(parameters, 1)
    generator = stream(0, "static mechanisms")
    straight = [condition for condition in conditions if condition.formula.degree == 1 and not condition.formula.opaque]
    for index, magnitude in enumerate(cycle(MAGNITUDES)):
        point = _draw(generator, parameters, magnitude, whole=index // len(MAGNITUDES) % 2 == 0)
        # One border for some of the points, two for some more: a path may lie between them.
        for _ in range(index % 3 if straight else 0):
            condition = straight[generator.integers(len(straight))]
            _move(point, condition, generator)
        yield point


def _draw(generator: np.random.Generator, parameters: Sequence[str], magnitude: float, *, whole: bool) -> Point:
    if whole:
        return {name: int(generator.integers(-int(magnitude), int(magnitude) + 1)) for name in parameters}
    return {name: float(generator.uniform(-magnitude, magnitude)) for name in parameters}


def _move(point: Point, condition: Condition, generator: np.random.Generator) -> None:
    """Change one value so that the point comes to lie on the border of a condition or beside it."""
    terms = dict(condition.formula.terms)
    ((name, _),) = list(terms)[generator.integers(len(terms))]
    rest = condition.formula.value(point | {str(name): 0})
    border = float(condition.threshold)
    # Beside the fixed distances some of the border's own size, and some of any, for borders close to one another.
    distances = [*_BESIDE, border / 2, -border / 2, *(sign * 10 ** generator.uniform(-8, 2) for sign in (-1, 1))]
    target = border + distances[generator.integers(len(distances))]
    value = (target - rest) / float(terms[((name, 1),)])
    point[str(name)] = int(value) if value.is_integer() else value
