"""How far votes agree: which are equal, which groups they form, and four measures of disagreement over the groups.

=============  ====================================================  ===================================
measure        of n votes                                            stays where each is given k times
=============  ====================================================  ===================================
non_unanimous  1 if two votes differ, else 0                         the measure
pairwise       share of the pairs of votes that differ               the measure times (n - 1) / n
entropy        Shannon's, of the groups' shares, in units of log(n)  the measure times log(n)
distinct       (number of groups - 1) / (n - 1)                      the measure times (n - 1)
=============  ====================================================  ===================================

All are 0 where all votes are equal (a single vote is) and 1 where all differ; none depends on the order of the votes.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import chain, pairwise
from numbers import Integral, Number
from typing import Any

from causalkit.errors import CausalkitError

Equal = Callable[[Any, Any], bool]

# Two numbers are equal up to rounding: by a share of the larger or, about 0, by a plain distance.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
# What a dictionary groups as `same` does, also where they are mixed: True == 1, and "1" != 1.
_EXACT = frozenset({str, int, bool, bytes, type(None)})
_NUMERIC = frozenset("biufc")


def disagreement(votes: Sequence[Any], measure: str = "distinct", equal: Equal | None = None) -> float:
    """Return how far the votes differ, from 0 (all equal) to 1 (all different).

    Parameters
    ----------
    votes : sequence
        One value per member, at least one.
    measure : {"distinct", "pairwise", "entropy", "non_unanimous"}
        See the table at the top.
    equal : callable, optional
        Whether two votes are equal. Default: `same`.

    Raises
    ------
    CausalkitError
        If there are no votes, or no such measure.

    Examples
    --------
    >>> disagreement([7, 7, 1]), disagreement(["cat", "Cat"], equal=lambda a, b: a.lower() == b.lower())
    (0.5, 0.0)
    """
    if measure not in MEASURES:
        raise CausalkitError(
            f"no measure of disagreement is called {measure!r}; choose one of {', '.join(MEASURES)}",
            measure=measure,
            measures=tuple(MEASURES),
        )
    return MEASURES[measure]([len(group) for group in groups(votes, equal)])


def agreement(votes: Sequence[Any], equal: Equal | None = None) -> tuple[int, int]:
    """Return how many votes are in the largest group, and how many there are.

    Where several groups are as large, that is the size of each of them.

    Examples
    --------
    >>> agreement([7, 7, 1]), agreement([7, 7, 1, 1])
    ((2, 3), (2, 4))
    """
    sizes = [len(group) for group in groups(votes, equal)]
    total = _total(sizes)
    return max(sizes), total


def groups(votes: Sequence[Any], equal: Equal | None = None) -> list[list[int]]:
    """Return the places of equal votes together, in order of appearance.

    Votes that are equal, or linked by a chain of equal ones, are one group: which these are does not depend on order.

    Parameters
    ----------
    votes : sequence
        One value per member.
    equal : callable, optional
        Whether two votes are equal; asked both ways round. Default: `same`.

    Raises
    ------
    CausalkitError
        If `equal` cannot be called.

    Examples
    --------
    >>> groups([0.3, "none", 0.1 + 0.2])
    [[0, 2], [1]]
    """
    if equal is not None:
        if not callable(equal):
            raise CausalkitError(f"equal is a {type(equal).__name__}; give a function of two votes", equal=equal)
        return _linked(list(votes), lambda one, other: bool(equal(one, other) or equal(other, one)))
    if not (kinds := set(map(type, votes))) <= _EXACT:
        votes = [_plain(vote) for vote in votes]
        kinds = set(map(type, votes))
    if kinds <= _EXACT:
        return _by_value(votes)
    return _by_distance(votes) if kinds == {float} else _linked(votes, same)


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal: numbers up to rounding, containers item by item.

    NaN equals NaN, 1 equals 1.0 and True, and "1" does not equal 1. Whole numbers are compared exactly, other numbers
    within 1e-9 of the larger (1e-12 about 0). Lists and tuples are equal if their items are; so are arrays of one
    shape, dictionaries regardless of order, and sets. Anything else is asked by ``==``; where that raises an error or
    gives no plain answer, as for tables, only the very same object is equal.

    Examples
    --------
    >>> same({"a": 1, "b": [0.1 + 0.2]}, {"b": (0.3,), "a": 1.0}), same("1", 1)
    (True, False)
    """
    # No recursion: values may hold themselves, and nest deeper than Python's stack. By identity, and the values
    # themselves kept, since the ids of those that are gone are given away again.
    seen: dict[tuple[int, int], tuple[Any, Any]] = {}
    unsettled = [(a, b)]
    try:
        while unsettled:
            one, other = map(_plain, unsettled.pop())
            if one is other or (id(one), id(other)) in seen:
                continue
            seen[id(one), id(other)] = one, other
            verdict = _compare(one, other)
            if verdict is False:
                return False
            if verdict is not True:
                unsettled += verdict
    except Exception:
        # Votes are of any class; what cannot be compared equals nothing but itself.
        return False
    return True


def _compare(one: Any, other: Any) -> bool | list[tuple[Any, Any]]:
    """Return whether two values are equal, or the pairs of parts that must be for them to be."""
    if isinstance(one, Number) and isinstance(other, Number):
        return _equal_numbers(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and [(one[key], other[key]) for key in one]
    if isinstance(one, AbstractSet) and isinstance(other, AbstractSet):
        return _equal_sets(one, other)
    if _is_array(one) and _is_array(other):
        return _compare_arrays(one, other)
    if _is_array(one) or _is_array(other):
        return [(one.tolist(), other) if _is_array(one) else (one, other.tolist())]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and list(zip(one, other, strict=True))
    return _plain(one == other) is True


def _equal_numbers(one: Any, other: Any) -> bool:
    if one == other or (one != one and other != other):
        return True
    if isinstance(one, Integral) and isinstance(other, Integral):
        return False
    close = cmath.isclose if isinstance(one, complex) or isinstance(other, complex) else math.isclose
    return close(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _equal_sets(one: AbstractSet[Any], other: AbstractSet[Any]) -> bool:
    """Return whether each item that one of the sets alone has is equal to one that the other alone has."""
    left, right = one - other, other - one
    return len(left) == len(right) and all(
        any(same(item, twin) for twin in twins) for items, twins in ((left, right), (right, left)) for item in items
    )


def _compare_arrays(one: Any, other: Any) -> bool | list[tuple[Any, Any]]:
    import numpy as np

    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    if not {one.dtype.kind, other.dtype.kind} <= _NUMERIC:
        return [(one.tolist(), other.tolist())]
    equal = (one == other) | ((one != one) & (other != other))
    if {one.dtype.kind, other.dtype.kind} & set("fc"):
        wide = np.result_type(one, other, float)
        with np.errstate(all="ignore"):
            gap = np.abs(one.astype(wide) - other.astype(wide))
            larger = np.maximum(np.abs(one), np.abs(other))
            equal |= np.isfinite(gap) & (gap <= np.maximum(_RELATIVE * larger, _ABSOLUTE))
    return bool(equal.all())


def _is_array(value: Any) -> bool:
    # What NumPy, PyTorch, JAX and CuPy have in common; tables, whose labels count too, do not have it.
    return hasattr(value, "__dlpack__")


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and texts, also as arrays without dimensions, as Python's."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    return value.item() if value.dtype.kind in _NUMERIC | {"U"} else value


def _by_value(votes: Sequence[Any]) -> list[list[int]]:
    places: dict[Any, list[int]] = {}
    for place, vote in enumerate(votes):
        places.setdefault(vote, []).append(place)
    return list(places.values())


def _by_distance(votes: Sequence[float]) -> list[list[int]]:
    """Return the groups of numbers, which have no gaps in a row by size."""
    row = sorted(range(len(votes)), key=lambda place: (math.isnan(votes[place]), votes[place]))
    found = [row[:1]]
    for before, place in pairwise(row):
        if _equal_numbers(votes[before], votes[place]):
            found[-1].append(place)
        else:
            found.append([place])
    return sorted(map(sorted, found))


def _linked(votes: Sequence[Any], equal: Equal) -> list[list[int]]:
    found: list[list[int]] = []
    for place, vote in enumerate(votes):
        near = [group for group in found if any(equal(votes[member], vote) for member in group)]
        found = [group for group in found if group not in near]
        found.append([*chain.from_iterable(near), place])
    return sorted(map(sorted, found))


def _total(sizes: Sequence[int]) -> int:
    if not sizes:
        raise CausalkitError("there are no votes to compare; leave out ensembles that no member answered")
    return sum(sizes)


def _measure(formula: Callable[[Sequence[int], int], float], sizes: Sequence[int]) -> float:
    total = _total(sizes)
    return formula(sizes, total) if len(sizes) > 1 else 0.0


def _pairwise(sizes: Sequence[int], total: int) -> float:
    return 1 - sum(size * (size - 1) for size in sizes) / (total * (total - 1))


def _entropy(sizes: Sequence[int], total: int) -> float:
    # As one minus a share it is exactly 1 where all votes differ.
    return 1 - sum(size * math.log(size) for size in sizes) / (total * math.log(total))


#: Measures of disagreement by name: each a function of the sizes of the groups.
MEASURES: dict[str, Callable[[Sequence[int]], float]] = {
    "non_unanimous": partial(_measure, lambda sizes, total: 1.0),
    "pairwise": partial(_measure, _pairwise),
    "entropy": partial(_measure, _entropy),
    "distinct": partial(_measure, lambda sizes, total: (len(sizes) - 1) / (total - 1)),
}
