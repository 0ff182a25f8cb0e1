"""Functions that are given as source, run in an isolated child but used like those that run here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from causalkit.collect.failures import FailedRows
from causalkit.collect.functions import BoundFunction
from causalkit.collect.isolated_steps import ENTRY, SourceFunction
from causalkit.collect.pieces import Record
from causalkit.collect.rows import run_rows
from causalkit.isolation import Isolated, Limits, isolate
from causalkit.isolation_board import portable

# Imported by many functions and slow to import: the warm process keeps them for all children.
PRELOADED = ("numpy", "pandas")


@contextmanager
def isolated_functions(
    sources: Mapping[str, SourceFunction], *, limits: Limits | None = None
) -> Iterator[dict[str, BoundFunction]]:
    """Load sources in a child process with limits, and return functions that call them there.

    Parameters
    ----------
    sources : mapping of str to SourceFunction
        The functions of nodes.
    limits : Limits, optional
        What they may take.

    Yields
    ------
    dict of str to BoundFunction
        To be used like others, in this process and until the end of the block.

    Raises
    ------
    TraceCollectionError
        If a source cannot be run or bound (``.node``, ``.line``, ``.parameter``, ``.parents``).
    ExecutionError
        If children die too often (``.deaths``), or a source takes too much while it is loaded (``.node``).

    Examples
    --------
    >>> with isolated_functions({"y": SourceFunction("y", "def y(x): return -x", ["x"])}) as functions:
    ...     list(functions["y"].over({"x": [1, 2]}, 2))
    [-1, -2]
    """
    if not sources:
        yield {}
        return
    setup = [asdict(source) for source in sources.values()]
    texts = " ".join(source.source for source in sources.values())
    preload = [name for name in PRELOADED if re.search(rf"\b{name}\b", texts)]
    with isolate(ENTRY, setup, list(sources), limits=limits, preload=preload) as child:
        yield {
            node: _IsolatedFunction(
                node, _only_there, tuple((name, None) for name in sorted(source.parents)), {}, child
            )
            for node, source in sources.items()
        }


def run_rows_isolated(
    order: Sequence[str],
    functions: Mapping[str, SourceFunction | BoundFunction],
    inputs: pd.DataFrame,
    *,
    keep_missing: bool,
    progress: bool,
    expand: bool = False,
    row_timeout_s: float = 1.0,
) -> tuple[pd.DataFrame, FailedRows]:
    r"""Run every function once for each row of the inputs, those given as source in an isolated child.

    Parameters
    ----------
    order : sequence of str
        The nodes, parents first.
    functions : mapping of str to SourceFunction or BoundFunction
        The functions of the nodes that are computed; a bound one runs in this process, without limits.
    inputs, keep_missing, progress, expand
        As for `run_rows`.
    row_timeout_s : float, default 1.0
        CPU time that one call may take in the child.

    Returns
    -------
    tuple of (pandas.DataFrame, FailedRows)
        As `run_rows` returns them. A row that a limit ended has the name of the limit for an exception,
        such as ``CPUTimeLimit``.

    Raises
    ------
    TraceCollectionError, ExecutionError
        As for `isolated_functions`.

    Examples
    --------
    >>> endless = SourceFunction("y", "def y(x):\n    while x < 1: pass\n    return 1 / x", ["x"])
    >>> inputs = pd.DataFrame({"x": [0, 2]})
    >>> options = {"keep_missing": False, "progress": False, "row_timeout_s": 0.1}
    >>> table, failures = run_rows_isolated(["x", "y"], {"y": endless}, inputs, **options)
    >>> table["y"].to_dict(), failures[0]["exception"], failures[0]["message"]
    ({1: 0.5}, 'CPUTimeLimit', 'CPU time limit of 0.1 s in line 2')
    """
    sources = {node: function for node, function in functions.items() if isinstance(function, SourceFunction)}
    here = {node: function for node, function in functions.items() if isinstance(function, BoundFunction)}
    with isolated_functions(sources, limits=Limits(row_cpu_s=row_timeout_s)) as there:
        return run_rows(order, here | there, inputs, keep_missing=keep_missing, progress=progress, expand=expand)


@dataclass(frozen=True)
class _IsolatedFunction(BoundFunction):
    """A function whose calls are made in the child; what failed there is raised here."""

    child: Isolated

    def over(self, columns: Mapping[str, Sequence[Any]], count: int) -> Iterator[Any]:
        crossing = {parent: _crossing(columns[parent]) for parent in self.parents}
        values, failures = self.child.run(self.node, crossing, count)
        return map(_result, values, map(failures.get, range(count))) if failures else iter(values)


def _crossing(values: Sequence[Any]) -> Sequence[Any]:
    if not any(type(value) is Record for value in values):
        return values
    return [portable(value.value) if type(value) is Record else value for value in values]


def _result(value: Any, failure: tuple[str, str] | None) -> Any:
    if failure is None:
        return value
    # A class of the same name, as the name is what a table of failures shows.
    raise type(failure[0], (Exception,), {})(failure[1])


def _only_there(*_: Any) -> Any:
    raise TypeError("this function runs in an isolated child only")
