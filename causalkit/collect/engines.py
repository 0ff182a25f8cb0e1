"""Which functions run where: in columns or rows, here, in workers or in an isolated child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from causalkit.collect.columns import FEWEST_ROWS, ColumnEngine
from causalkit.collect.failures import FailedRows
from causalkit.collect.functions import BoundFunction
from causalkit.collect.isolated import isolated_functions
from causalkit.collect.isolated_steps import SourceFunction
from causalkit.collect.pieces import Piece, assemble
from causalkit.collect.rows import BAR_DELAY_S, run_nodes
from causalkit.isolation import Limits

CHUNKS_PER_WORKER = 4  # so that the bar moves, and a worker that is done early helps the others

Functions: TypeAlias = Mapping[str, SourceFunction | BoundFunction]


@dataclass(frozen=True)
class Engine:
    """How functions are run.

    Parameters
    ----------
    engine : {"auto", "rows", "columns"}
        Whether columns are tried: for many rows, never, or always.
    isolation : {"process", "none"}
        Whether sources are run in an isolated child.
    row_timeout_s : float
        The CPU time that one call may take there.
    n_jobs : int or None
        The number of workers that share the rows, where no child is isolated; -1 for one a core.
    keep_missing : bool
        Whether a missing result is a value.
    expand : bool
        Whether results may have fields.
    progress : bool
        Show a bar.

    Examples
    --------
    >>> rows = Engine("rows", "none", 1.0, None, keep_missing=False, expand=False, progress=False)
    >>> double = SourceFunction("y", "def y(x): return 2 * x", ["x"])
    >>> rows.run(["x", "y"], {"y": double}, pd.DataFrame({"x": [3]})).engines
    {'x': 'drawn', 'y': 'rows'}
    """

    engine: str
    isolation: str
    row_timeout_s: float
    n_jobs: int | None
    keep_missing: bool
    expand: bool
    progress: bool

    def run(self, order: Sequence[str], functions: Functions, inputs: pd.DataFrame) -> Collected:
        """Run all functions on all rows.

        Parameters
        ----------
        order : sequence of str
            The nodes, parents first.
        functions : mapping of str to SourceFunction or BoundFunction
            The functions of the nodes that are computed.
        inputs : pandas.DataFrame
            The values of the others, and the noise of computed ones under their names.

        Returns
        -------
        Collected
            The same table for every way of running it.
        """
        if self.isolation == "process" and any(isinstance(one, SourceFunction) for one in functions.values()):
            pieces, reasons = self._run_isolated(order, functions, inputs)
        elif self.n_jobs in (None, 1):
            pieces, reasons = self._run_here(order, _bound(functions), inputs)
        else:
            pieces, reasons = self._run_spread(order, functions, inputs)
        traces, failures = assemble(order, pieces, keep_missing=self.keep_missing)
        ways = {node: "rows" if node in reasons else "columns" for node in functions}
        return Collected(traces, failures, {node: ways.get(node, "drawn") for node in order}, reasons)

    def _run_here(
        self, order: Sequence[str], functions: Mapping[str, BoundFunction], inputs: pd.DataFrame
    ) -> tuple[list[Piece], dict[str, str]]:
        piece = Piece.of(inputs)
        columns = ColumnEngine(FEWEST_ROWS if self.engine == "auto" else 0)
        run_nodes(
            piece,
            order,
            functions,
            keep_missing=self.keep_missing,
            progress=self.progress,
            expand=self.expand,
            by_column=None if self.engine == "rows" else columns,
        )
        reasons = dict.fromkeys(functions, 'engine is "rows"') if self.engine == "rows" else columns.reasons
        return [piece], reasons

    def _run_isolated(
        self, order: Sequence[str], functions: Functions, inputs: pd.DataFrame
    ) -> tuple[list[Piece], dict[str, str]]:
        sources = {node: one for node, one in functions.items() if isinstance(one, SourceFunction)}
        here = {node: one for node, one in functions.items() if isinstance(one, BoundFunction)}
        with isolated_functions(sources, limits=Limits(row_cpu_s=self.row_timeout_s)) as there:
            return self._run_here(order, here | there, inputs)

    def _run_spread(
        self, order: Sequence[str], functions: Functions, inputs: pd.DataFrame
    ) -> tuple[list[Piece], dict[str, str]]:
        from joblib import Parallel, delayed, effective_n_jobs  # a third of a second, for those who ask for workers

        sources = all(isinstance(function, SourceFunction) for function in functions.values())
        chunks = np.array_split(np.arange(len(inputs)), CHUNKS_PER_WORKER * effective_n_jobs(self.n_jobs))
        # A live callable may hold what no other process can have, and so is shared by threads.
        workers = Parallel(n_jobs=self.n_jobs, prefer=None if sources else "threads", return_as="generator")
        quiet = replace(self, progress=False)
        # A source is sent as text; the class of a record that it makes exists nowhere else.
        given = functions if sources else _bound(functions)
        jobs = (delayed(_run_chunk)(quiet, list(order), given, inputs.iloc[rows]) for rows in chunks if len(rows))
        pieces: list[Piece] = []
        reasons: dict[str, str] = {}
        with tqdm(total=len(inputs), desc="rows", leave=False, disable=not self.progress, delay=BAR_DELAY_S) as bar:
            for piece, its_reasons in workers(jobs):
                pieces.append(piece)
                reasons |= its_reasons
                bar.update(len(piece) + len(piece.failures))
        return pieces, reasons


@dataclass(frozen=True)
class Collected:
    """What a run gives: the table, the rows that failed, the engine of each node and why it was not columns.

    Examples
    --------
    >>> Collected(pd.DataFrame(), FailedRows(), {}, {}).engines
    {}
    """

    traces: pd.DataFrame
    failures: FailedRows
    engines: dict[str, str]
    reasons: dict[str, str]


def _bound(functions: Functions) -> dict[str, BoundFunction]:
    return {node: one.bind() if isinstance(one, SourceFunction) else one for node, one in functions.items()}


def _run_chunk(
    engine: Engine, order: Sequence[str], functions: Functions, inputs: pd.DataFrame
) -> tuple[Piece, dict[str, str]]:
    """Run some rows from beginning to end, in a worker."""
    (piece,), reasons = engine._run_here(order, _bound(functions), inputs)
    return piece.without_objects(), reasons
