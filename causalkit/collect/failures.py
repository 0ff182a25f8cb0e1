"""Rows that failed: what is kept of them, how many are too many, and whether the rest is a biased sample."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import pandas as pd

from causalkit.errors import ExecutionError

BIAS_ALPHA = 0.01  # the chance that failures which depend on no input are said to depend on one
FEW_VALUES = 20  # inputs of up to so many values are compared value by value, others by their distribution
SMALLEST_P = 1e-99  # what is smaller says no more
TESTED_ROWS = 10_000  # no bias that matters needs more rows to be seen


class FailedRows(list[dict[str, Any]]):
    """The rows that failed: a list of dicts with row, node, exception, message and inputs.

    A list and not a frame because pandas compares ``attrs`` when it joins tables, and copies them
    whenever it cuts one: this list is handed on as it is.

    Examples
    --------
    >>> FailedRows().to_frame().columns.tolist()
    ['row', 'node', 'exception', 'message', 'inputs']
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> FailedRows:
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return the failures as a table.

        Returns
        -------
        pandas.DataFrame
            One row each; the column ``inputs`` holds what the failing call received, by parent.

        Examples
        --------
        >>> failure = {"row": 3, "node": "y", "exception": "KeyError", "message": "'a'", "inputs": {"x": 1}}
        >>> FailedRows([failure]).to_frame()["node"].tolist()
        ['y']
        """
        return pd.DataFrame(list(self), columns=["row", "node", "exception", "message", "inputs"])


class BiasedSampleWarning(UserWarning):
    """Rows failed, and which ones depends on an input: those that remain are a biased sample."""


class MissingResult(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function returned None or NaN."""


def told(error: BaseException) -> tuple[str, str]:
    """Return the name and the message of an exception, whatever its message does.

    Examples
    --------
    >>> told(KeyError("a"))
    ('KeyError', "'a'")
    """
    try:
        return type(error).__name__, str(error)
    except Exception as unreadable:
        return type(error).__name__, f"<its message fails with {type(unreadable).__name__}>"


def check_failure_rate(failures: FailedRows, num_samples: int, max_failure_rate: float) -> None:
    """Refuse a run of which too many rows failed.

    Parameters
    ----------
    failures : FailedRows
        The rows that failed.
    num_samples : int
        The number of all rows.
    max_failure_rate : float
        The share of them that may fail.

    Raises
    ------
    ExecutionError
        If more did (``.failures``, ``.failure_rate``), with counts by node and exception.

    Examples
    --------
    >>> check_failure_rate(FailedRows(), 10, 0.5)
    """
    rate = len(failures) / num_samples
    if rate <= max_failure_rate:
        return
    counts = Counter((failure["node"], failure["exception"]) for failure in failures)
    first = failures[0]
    raise ExecutionError(
        f"{len(failures)} of {num_samples} rows failed, more than max_failure_rate={max_failure_rate}: "
        + ", ".join(f"{node!r}: {count} x {name}" for (node, name), count in counts.most_common())
        + f" (first: {first['message']}, on {first['inputs']}); correct the functions, narrow input_ranges "
        "or raise max_failure_rate",
        failures=failures,
        failure_rate=rate,
    )


def find_bias(inputs: pd.DataFrame, failed_rows: list[int]) -> list[str]:
    """Say on which inputs it depends whether a row fails.

    Each input is tested by itself: one of up to 20 values by Fisher's exact test of each value
    against the rest, a number otherwise by Kolmogorov and Smirnov's. The chance of a false alarm is
    at most 1 % over all tests together (Bonferroni).

    Parameters
    ----------
    inputs : pandas.DataFrame
        The drawn inputs of all rows.
    failed_rows : list of int
        The labels of those that failed.

    Returns
    -------
    list of str
        For each such input how the failed rows differ from the others, the clearest first.

    Examples
    --------
    >>> find_bias(pd.DataFrame({"x": range(100), "y": 1}), list(range(10)))
    ['x: 0 to 9 in the failed rows, 10 to 99 in the others (p = 1.2e-13)']
    """
    failed = inputs.index.isin(failed_rows)
    if failed.all() or not failed.any():
        return []
    tests = [test for name in inputs for test in _tests(str(name), inputs[name][failed], inputs[name][~failed])]
    found = sorted((p_value, sentence) for p_value, sentence in tests if p_value * len(tests) < BIAS_ALPHA)
    return [f"{sentence} ({_shown(p_value)})" for p_value, sentence in found]


def _shown(p_value: float) -> str:
    return f"p = {p_value:.1e}" if p_value > SMALLEST_P else f"p < {SMALLEST_P:.0e}"


def _tests(name: str, failed: pd.Series[Any], others: pd.Series[Any]) -> list[tuple[float, str]]:
    """Return p-value and sentence of every test on one input."""
    values = pd.concat([failed, others]).dropna().unique()
    if len(values) == 1:
        return []
    if len(values) <= FEW_VALUES:
        return [_fisher(name, value, failed, others) for value in values]
    if not pd.api.types.is_numeric_dtype(failed):
        return []
    return [_smirnov(name, failed.dropna()[:TESTED_ROWS], others.dropna()[:TESTED_ROWS])]


def _fisher(name: str, value: Any, failed: pd.Series[Any], others: pd.Series[Any]) -> tuple[float, str]:
    from scipy.stats import fisher_exact  # half a second, and only where rows fail

    with_it, without = int((failed == value).sum()), int((others == value).sum())
    table = np.array([[with_it, len(failed) - with_it], [without, len(others) - without]])
    shares = f"{with_it / len(failed):.0%} of the failed rows, {without / len(others):.0%} of the others"
    return float(fisher_exact(table)[1]), f"{name} = {value}: {shares}"


def _smirnov(name: str, failed: pd.Series[Any], others: pd.Series[Any]) -> tuple[float, str]:
    from scipy.stats import ks_2samp

    if failed.empty or others.empty:
        return 1.0, ""
    # The exact distribution takes long on many rows, and is no other there.
    method: Literal["exact", "asymp"] = "exact" if len(failed) * len(others) <= TESTED_ROWS else "asymp"
    low, high, other_low, other_high = (
        f"{bound:.3g}" for values in (failed, others) for bound in (np.min(values), np.max(values))
    )
    shown = f"{name}: {low} to {high} in the failed rows, {other_low} to {other_high} in the others"
    return float(ks_2samp(failed.to_numpy(dtype=float), others.to_numpy(dtype=float), method=method).pvalue), shown
