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

PLAIN_DTYPES = frozenset(map(np.dtype, ("float64", "int64", "bool")))

WHAT_TO_WRITE = (
    "write (low, high), a list of choices, one number, bool or text, a scipy.stats distribution "
    "or a callable taking (generator, size)"
)


def generate_random_inputs(
    param_names: Iterable[str],
    input_ranges: Mapping[Any, Any] | pd.DataFrame | None,
    num_samples: int,
    *,
    random_seed: int | None = None,
) -> pd.DataFrame:
    """Draw a table of inputs.

    Parameters
    ----------
    param_names : iterable of str
        The names to draw, one column each.
    input_ranges : mapping of str to range, or pandas.DataFrame, or None
        What each name draws:

        - ``(low, high)``, both whole numbers: whole numbers from low to high, both included
        - ``(low, high)``, at least one of them a float: real numbers, uniform
        - a list: one of its elements, each equally likely (so ``[0, 10]`` is 0 or 10)
        - one number, bool or text: always that value
        - a frozen `scipy.stats` distribution: its draws
        - a callable: what it returns for ``(generator, size)``

        Under a tuple of names, such as ``("a", "b")``, stands a `pandas.DataFrame` with these columns:
        whole rows of it are drawn, with replacement, so that what goes together stays together. A
        DataFrame in place of the mapping is drawn from in this way for all its columns. A name without
        a range draws real numbers between -10 and 10.
    num_samples : int
        The number of rows, at least 1.
    random_seed : int, optional
        A seed of zero or more. A column depends on the seed, its name and its range alone.

    Returns
    -------
    pandas.DataFrame
        The inputs; ``attrs["default_ranges"]`` lists the names that had no range, ``attrs["real_rows"]``
        those that were drawn from the rows of a DataFrame.

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
    names = list(param_names)
    ranges, tables = _split(input_ranges)
    real = [str(name) for table in tables for name in table]
    _check_names(names, [*ranges, *real])
    columns: dict[str, Any] = {}
    for table in tables:
        columns |= _draw_rows(table, random_seed, num_samples)
    for name in names:
        if name not in columns:
            given = ranges.get(name, DEFAULT_RANGE)
            columns[name] = _draw(name, given, stream(random_seed, name), num_samples)
    frame = pd.DataFrame({name: columns[name] for name in names}, index=pd.RangeIndex(num_samples))
    frame.attrs["default_ranges"] = [name for name in names if name not in ranges and name not in real]
    frame.attrs["real_rows"] = [name for name in names if name in real]
    return frame


def generate_noise(
    noise: Mapping[str, Any] | None, nodes: Iterable[str], num_samples: int, *, random_seed: int | None = None
) -> pd.DataFrame:
    """Draw what is added to the values of nodes.

    Parameters
    ----------
    noise : mapping of str to noise, or None
        By node a frozen `scipy.stats` distribution, a callable taking ``(generator, size)``, or the
        standard deviation of a normal distribution around zero.
    nodes : iterable of str
        The nodes there are.
    num_samples : int
        The number of rows.
    random_seed : int, optional
        A seed of zero or more; the noise of a node depends on the seed, its name and its noise alone.

    Returns
    -------
    pandas.DataFrame
        One column of numbers for each node with noise.

    Raises
    ------
    TraceCollectionError
        If noise cannot be drawn from or is no number, or is for an unknown node (``.parameter``).

    Examples
    --------
    >>> generate_noise({"y": 0.5}, ["x", "y"], 3, random_seed=1).shape
    (3, 1)
    """
    known, columns = list(nodes), {}
    for node, given in (noise or {}).items():
        if node not in known:
            raise TraceCollectionError(
                f"noise has an entry for {node!r}, which is no node of the causal graph; correct the name",
                parameter=node,
            )
        # No name of a node has a NUL in it, so that no column is drawn from the stream of another.
        drawn = _draw_noise(node, given, stream(random_seed, f"noise\0{node}"), num_samples)
        columns[node] = np.asarray(drawn, dtype=float)
    return pd.DataFrame(columns, index=pd.RangeIndex(num_samples))


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


def _split(input_ranges: Any) -> tuple[dict[str, Any], list[pd.DataFrame]]:
    """Return the ranges of single names, and the tables of names that are drawn together."""
    if isinstance(input_ranges, pd.DataFrame):
        return {}, [input_ranges]
    given = dict(input_ranges or {})
    tables = []
    for names in [names for names in given if isinstance(names, tuple)]:
        table = given.pop(names)
        if not isinstance(table, pd.DataFrame) or set(table.columns) != set(names):
            raise TraceCollectionError(
                f"input_ranges[{names!r}] is no DataFrame with these columns; write {names!r}: rows[{list(names)!r}]",
                parameter=names,
            )
        tables.append(table)
    return given, tables


def _check_names(names: list[str], given: list[str]) -> None:
    for position, name in enumerate(given):
        if name not in names:
            raise TraceCollectionError(
                f"input_ranges has a range for {name!r}, which is not drawn (drawn are "
                f"{', '.join(map(repr, names)) or 'none'}); remove it or correct the name",
                parameter=name,
            )
        if name in given[:position]:
            raise TraceCollectionError(f"input_ranges has two ranges for {name!r}; remove one", parameter=name)


def _draw_rows(table: pd.DataFrame, random_seed: int | None, size: int) -> dict[str, list[Any]]:
    if table.empty:
        raise TraceCollectionError(
            "the DataFrame of input_ranges has no rows or no columns; give rows to draw from", parameter=list(table)
        )
    names = sorted(map(str, table))
    drawn = stream(random_seed, "\0".join(names)).integers(len(table), size=size)
    columns = {name: table[name].take(drawn).tolist() for name in names}
    for name, values in columns.items():
        if not all(value is None or value is pd.NA or _is_scalar(value) for value in values):
            raise _bad_range(name, table[name].dtype, "holds values that are no numbers, bools or texts")
    return columns


def _draw(name: str, given: Any, generator: np.random.Generator, size: int) -> Any:
    draw = _draw_between if isinstance(given, tuple) else _draw_choices if isinstance(given, list) else _draw_from
    try:
        values = draw(name, given, generator, size)
        if not isinstance(values, np.ndarray) or values.dtype not in PLAIN_DTYPES or values.ndim != 1:
            values = list(values)
    except TraceCollectionError:
        raise
    except Exception as error:
        raise _bad_range(name, given, f"cannot be drawn from ({type(error).__name__}: {error})") from error
    # Arrays of numbers need no look at every value.
    scalars = isinstance(values, np.ndarray) or all(value is None or _is_scalar(value) for value in values)
    if len(values) != size or not scalars:
        raise _bad_range(name, given, f"did not draw {size} values that are numbers, bools or texts")
    return values


def _draw_noise(node: str, given: Any, generator: np.random.Generator, size: int) -> Any:
    wanted = "write a standard deviation, a scipy.stats distribution or a callable taking (generator, size)"
    if _is_number(given) and math.isfinite(given) and given >= 0:
        return generator.normal(0, given, size)
    if not hasattr(given, "rvs") and not callable(given):
        raise TraceCollectionError(f"the noise of {node!r} is {given!r}; {wanted}", parameter=node)
    values = pd.Series(_draw(node, given, generator, size))
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values) or values.isna().any():
        raise TraceCollectionError(f"the noise of {node!r} has values that are no numbers; {wanted}", parameter=node)
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
