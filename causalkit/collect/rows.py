"""Run bound functions row by row, and keep the failures beside the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from causalkit.collect.functions import BoundFunction

BAR_DELAY_S = 0.5  # a bar that is gone at once would only flicker


def run_rows(
    order: Sequence[str],
    functions: Mapping[str, BoundFunction],
    inputs: pd.DataFrame,
    *,
    keep_missing: bool,
    progress: bool,
) -> tuple[pd.DataFrame, FailedRows]:
    """Run every function once for each row of the inputs, parents first.

    Parameters
    ----------
    order : sequence of str
        The nodes, parents first.
    functions : mapping of str to BoundFunction
        The functions of the nodes that are computed.
    inputs : pandas.DataFrame
        The values of the nodes that are not.
    keep_missing : bool
        Whether a missing result is a value; otherwise it fails its row.
    progress : bool
        Show a bar.

    Returns
    -------
    tuple of (pandas.DataFrame, FailedRows)
        The rows that did not fail, under their number, and those that did.

    Examples
    --------
    >>> half = BoundFunction("y", lambda x: 1 / x, (), {"x": "x"})
    >>> inputs = pd.DataFrame({"x": [0, 2]})
    >>> table, failures = run_rows(["x", "y"], {"y": half}, inputs, keep_missing=False, progress=False)
    >>> table["y"].to_dict(), [failure["row"] for failure in failures]
    ({1: 0.5}, [0])
    """
    drawn = {str(name): inputs[name].tolist() for name in inputs}
    done: dict[int, dict[str, Any]] = {}
    failures = FailedRows()
    bar = tqdm(range(len(inputs)), desc="rows", leave=False, disable=not progress, delay=BAR_DELAY_S)
    for row in bar:
        values: dict[str, Any] = {}
        for node in order:
            function = functions.get(node)
            try:
                result = function(values) if function else drawn[node][row]
                values[node] = _plain(result, keep_missing)
            # SystemExit too: a script's sys.exit() must end its row, not the kernel.
            except (Exception, SystemExit) as error:
                failures.append(_failure(row, node, error, function.inputs(values) if function else {}))
                break
        else:
            done[row] = values
    return _table(order, done, len(inputs)), failures


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


class MissingResult(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function returned None or NaN."""


class UnusableResult(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function returned what no cell of a trace table can hold."""


def _plain(value: Any, keep_missing: bool) -> Any:
    """Return a value as a number, bool or text of Python's own."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        if keep_missing:
            return value
        raise MissingResult(f'returned {value}; return a value on every path, or pass nan="keep"')
    if isinstance(value, bool | int | float | str):
        return value
    raise UnusableResult(f"returned a {type(value).__name__}; return one number, bool or text")


def _failure(row: int, node: str, error: BaseException, inputs: dict[str, Any]) -> dict[str, Any]:
    try:
        message = str(error)
    except Exception as unreadable:
        message = f"<its message fails with {type(unreadable).__name__}>"
    return {"row": row, "node": node, "exception": type(error).__name__, "message": message, "inputs": inputs}


def _table(order: Sequence[str], done: Mapping[int, Mapping[str, Any]], num_rows: int) -> pd.DataFrame:
    index = pd.RangeIndex(num_rows) if len(done) == num_rows else pd.Index(list(done), dtype="int64")
    return pd.DataFrame({node: [values[node] for values in done.values()] for node in order}, index=index)
