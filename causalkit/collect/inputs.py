"""Random inputs: one column for each name, each from its own stream."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from causalkit.errors import TraceCollectionError
from causalkit.streams import stream

# Inputs nobody described take both signs and are no fraction only, so that most functions show their shape.
DEFAULT_RANGE = (-10.0, 10.0)

WHAT_TO_WRITE = (
    "write (low, high), a list of choices, one number, bool or text, a scipy.stats distribution "
    "or a callable taking (generator, size)"
)


def generate_random_inputs(
    param_names: Iterable[str],
    input_ranges: Mapping[str, Any] | None,
    num_samples: int,
    *,
    random_seed: int | None = None,
) -> pd.DataFrame:
    """Draw a table of inputs.

    Parameters
    ----------
    param_names : iterable of str
        The names to draw, one column each.
    input_ranges : mapping of str to range, or None
        What each name draws:

        - ``(low, high)``, both whole numbers: whole numbers from low to high, both included
        - ``(low, high)``, at least one of them a float: real numbers, uniform
        - a list: one of its elements, each equally likely (so ``[0, 10]`` is 0 or 10)
        - one number, bool or text: always that value
        - a frozen `scipy.stats` distribution: its draws
        - a callable: what it returns for ``(generator, size)``

        A name without a range draws real numbers between -10 and 10.
    num_samples : int
        The number of rows, at least 1.
    random_seed : int, optional
        A seed of zero or more. A column depends on the seed, its name and its range alone.

    Returns
    -------
    pandas.DataFrame
        The inputs; ``attrs["default_ranges"]`` lists the names that had no range.

    Raises
    ------
    TraceCollectionError
        If a range cannot be drawn from (``.parameter``).

    Examples
    --------
    >>> frame = generate_random_inputs(["x", "mode"], {"mode": ["fast", "deep"]}, 3, random_seed=1)
    >>> frame.shape, frame.attrs["default_ranges"]
    ((3, 2), ['x'])
    """
    check_num_samples(num_samples)
    names, ranges = list(param_names), dict(input_ranges or {})
    for unknown in (name for name in ranges if name not in names):
        raise TraceCollectionError(
            f"input_ranges has a range for {unknown!r}, which is not drawn (drawn are "
            f"{', '.join(map(repr, names)) or 'none'}); remove it or correct the name",
            parameter=unknown,
        )
    columns = {
        name: _draw(name, ranges.get(name, DEFAULT_RANGE), stream(random_seed, name), num_samples) for name in names
    }
    frame = pd.DataFrame(columns, index=pd.RangeIndex(num_samples))
    frame.attrs["default_ranges"] = [name for name in names if name not in ranges]
    return frame


def check_num_samples(num_samples: Any) -> None:
    """Refuse a number of samples that is no whole number of at least 1.

    Parameters
    ----------
    num_samples : int
        The number to check.

    Raises
    ------
    TraceCollectionError
        If it is anything else.

    Examples
    --------
    >>> check_num_samples(0)
    Traceback (most recent call last):
        ...
    causalkit.errors.TraceCollectionError: num_samples is 0; write a whole number of at least 1
    """
    whole = isinstance(num_samples, int | np.integer) and not isinstance(num_samples, bool)
    if not whole or num_samples < 1:
        raise TraceCollectionError(
            f"num_samples is {num_samples!r}; write a whole number of at least 1", parameter="num_samples"
        )


def _draw(name: str, given: Any, generator: np.random.Generator, size: int) -> list[Any]:
    draw = _draw_between if isinstance(given, tuple) else _draw_choices if isinstance(given, list) else _draw_from
    try:
        values = list(draw(name, given, generator, size))
    except TraceCollectionError:
        raise
    except Exception as error:
        raise _bad_range(name, given, f"cannot be drawn from ({type(error).__name__}: {error})") from error
    if len(values) != size or not all(value is None or _is_scalar(value) for value in values):
        raise _bad_range(name, given, f"did not draw {size} values that are numbers, bools or texts")
    return values


def _draw_between(name: str, bounds: tuple[Any, ...], generator: np.random.Generator, size: int) -> Any:
    if len(bounds) != 2 or not all(map(_is_number, bounds)):
        raise _bad_range(name, bounds, "is not a pair of numbers (write a list for choices)")
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _bad_range(name, bounds, "has a bound that is not finite")
    if low > high:
        raise _bad_range(name, bounds, "does not have low <= high")
    if all(isinstance(bound, int | np.integer) for bound in bounds):
        return generator.integers(low, high, size, endpoint=True)
    return generator.uniform(low, high, size)


def _draw_choices(name: str, choices: list[Any], generator: np.random.Generator, size: int) -> Any:
    if not choices:
        raise _bad_range(name, choices, "is empty and needs at least one choice")
    if not all(_is_scalar(choice) and choice == choice for choice in choices):
        raise _bad_range(name, choices, "has a choice that is no number, bool or text")
    # Positions are drawn, not elements: numpy would turn [1, "a"] into two texts.
    return [choices[position] for position in generator.integers(len(choices), size=size)]


def _draw_from(name: str, given: Any, generator: np.random.Generator, size: int) -> Any:
    if _is_scalar(given) and given == given:
        return [given] * size
    if hasattr(given, "rvs"):
        return given.rvs(size=size, random_state=generator)
    if callable(given):
        return given(generator, size)
    raise _bad_range(name, given, "is no range")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | np.generic)


def _bad_range(name: str, given: Any, fault: str) -> TraceCollectionError:
    shown = getattr(given, "__name__", None) or (type(given).__name__ if hasattr(given, "rvs") else f"{given!r:.80}")
    return TraceCollectionError(f"the input range of {name!r}, {shown}, {fault}; {WHAT_TO_WRITE}", parameter=name)
