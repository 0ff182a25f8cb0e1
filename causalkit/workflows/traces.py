"""Read recorded runs back, choose among them, and turn them into a table and a graph."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.journal import read_journal
from causalkit.workflows.records import WorkflowTrace, merge_records

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from matplotlib.axes import Axes

    from causalkit.journal import Damage


class DamagedJournalWarning(UserWarning):
    """Some bytes of a journal hold no record; what is good was read."""


def load_traces(path_or_paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Traces:
    """Read the runs of one journal or of several.

    Parameters
    ----------
    path_or_paths : path-like or sequence of path-like
        JSONL journals as a `Tracer` writes them. Steps and runs are joined by ``request_id`` and ``step_id``, the
        later line wins; a run whose own line never came is shown as crashed.

    Returns
    -------
    Traces
        All whole records; ``.damage`` names the bytes that hold none (and a `DamagedJournalWarning` says so).

    Raises
    ------
    TraceFormatError
        If there is no file, or no run in it.

    Examples
    --------
    >>> import tempfile
    >>> from causalkit.workflows.tracer import Tracer
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> with Tracer(path).workflow("answer") as run, run.step("search"):
    ...     pass
    >>> load_traces(path)
    <Traces: 1 runs of answer, 0 failed>
    """
    paths = [path_or_paths] if isinstance(path_or_paths, str | os.PathLike) else list(path_or_paths)
    if not paths:
        raise TraceFormatError("no journal was named; give the path of at least one", path="")
    records: list[dict[str, Any]] = []
    damage: list[Damage] = []
    for path in paths:
        if not Path(path).is_file():
            raise TraceFormatError(f"there is no journal {path}; check the path", path=str(path))
        good, bad = read_journal(path)
        records += good
        damage += bad
    runs, refused = merge_records(records)
    names = ", ".join(map(str, paths))
    if not runs:
        raise TraceFormatError(_nothing_in(names, damage, refused), path=names, damage=tuple(damage))
    if damage or refused:
        lost = "; ".join([*map(str, damage), *refused])
        warnings.warn(f"read {len(runs)} runs and left out {lost}", DamagedJournalWarning, stacklevel=2)
    return Traces(tuple(runs), tuple(damage), tuple(refused), source=names)


@dataclass(frozen=True)
class Traces:
    """Recorded runs: immutable, iterable as `WorkflowTrace`; each filter gives new `Traces`.

    Examples
    --------
    >>> from causalkit.workflows.tracer import Tracer
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer") as run, run.step("search"):
    ...     pass
    >>> Traces(tuple(tracer.runs))
    <Traces: 1 runs of answer, 0 failed>
    """

    _runs: tuple[WorkflowTrace, ...]
    damage: tuple[Damage, ...] = ()
    refused: tuple[str, ...] = ()
    source: str = field(default="memory", compare=False)
    caveats: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[WorkflowTrace]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: int) -> WorkflowTrace:
        return self._runs[index]

    def __repr__(self) -> str:
        names = ", ".join(sorted({run.workflow_name or "?" for run in self})) or "nothing"
        return f"<Traces: {len(self)} runs of {names}, {sum(not run.success for run in self)} failed>"

    def _repr_html_(self) -> str:
        skipped = f"<br>{len(self.damage)} stretches of bytes left out" if self.damage else ""
        return f"<p>{escape(repr(self))}{skipped}</p>"

    def filter_by_workflow(self, workflow_name: str) -> Traces:
        """Keep the runs of one workflow."""
        return self.custom_filter(lambda run: run.workflow_name == workflow_name)

    def filter_by_mode(self, mode: str) -> Traces:
        """Keep the runs of one mode."""
        return self.custom_filter(lambda run: run.mode == mode)

    def filter_by_success(self, success: bool = True) -> Traces:
        """Keep the runs that succeeded, or those that failed; how many were left out stays as a caveat."""
        kept = self.custom_filter(lambda run: run.success == success)
        left_out = len(self) - len(kept)
        if not left_out:
            return kept
        kind = "failed" if success else "successful"
        caveat = f"{left_out} {kind} runs of {len(self)} are left out: the answer is about the others"
        return replace(kept, caveats=(*self.caveats, caveat))

    def custom_filter(self, predicate: Callable[[WorkflowTrace], bool]) -> Traces:
        """Keep the runs for which `predicate` is true."""
        return replace(self, _runs=tuple(run for run in self if predicate(run)))

    def find_failed_steps(self) -> pd.DataFrame:
        """Return one row per failed step: who, where, which error, when."""
        import pandas as pd

        failed = [(run, step, step.error or {}) for run in self for step in run.steps if not step.success]
        rows = [
            (run.request_id, run.workflow_name, step.step_name, error.get("message"), error.get("type"), step.start)
            for run, step, error in failed
        ]
        return pd.DataFrame(rows, columns=["request_id", "workflow", "step_name", "error", "error_type", "timestamp"])

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per run with the fields of the run; knobs and attributes are columns."""
        import pandas as pd

        from causalkit.workflows.variables import run_row

        self._need_runs()
        return pd.DataFrame([run_row(run) for run in self])

    def to_trace_table(self, *, confounders: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the trace table: one row per run, one column per variable of `causal_graph`.

        See `causalkit.workflows.variables.to_trace_table`.
        """
        from causalkit.workflows.variables import to_trace_table

        self._need_runs()
        return to_trace_table(self, confounders)

    def causal_graph(
        self,
        *,
        confounders: Iterable[str] | None = None,
        required: Iterable[tuple[str, str]] = (),
        forbidden: Iterable[tuple[str, str]] = (),
    ) -> nx.DiGraph[str]:
        """Return the causal graph that the runs themselves prove; every edge says why it is there.

        See `causalkit.workflows.variables.causal_graph`.
        """
        from causalkit.workflows.variables import causal_graph

        self._need_runs()
        return causal_graph(self, confounders, required, forbidden)

    def plot_latency(self, *, ax: Axes | None = None) -> Axes:
        """Draw the distribution of each step's own time; see `causalkit.plots.latency.plot_latency`."""
        from causalkit.plots.latency import plot_latency

        return plot_latency(self, ax=ax)

    def _need_runs(self) -> None:
        if not self._runs:
            raise TraceFormatError(f"no run is left of {self.source}; loosen the filter or record some runs first")


def _nothing_in(names: str, damage: Sequence[Damage], refused: Sequence[str]) -> str:
    found = [*map(str, damage), *refused]
    if not found:
        return f"{names} is empty: no run was recorded; run the workflow under a Tracer first"
    return f"{names} holds no whole run record; left out: {'; '.join(found[:5])}"
