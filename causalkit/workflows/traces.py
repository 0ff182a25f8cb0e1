"""Read recorded runs back, choose among them, and turn them into a table and a graph."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.workflows.aggregates import TraceAggregates
from causalkit.workflows.dates import read_bound
from causalkit.workflows.records import WorkflowTrace

if TYPE_CHECKING:
    from pathlib import Path

    import ibis.expr.types as ir
    import networkx as nx
    import pandas as pd
    from matplotlib.axes import Axes

    from causalkit.journal_reading import Damage
    from causalkit.workflows.variables import Rule

_NAMES_SHOWN = 6
PathLike = str | os.PathLike[str]


class DamagedJournalWarning(UserWarning):
    """Some bytes of a journal hold no record; what is good was read."""


def load_traces(
    source: PathLike | Iterable[PathLike] | Iterable[WorkflowTrace] | ir.Table, steps: ir.Table | None = None
) -> Traces:
    """Read the runs of journals, of a tracer's memory, or of two tables of any Ibis connection.

    Parameters
    ----------
    source : path-like, iterable of path-like, iterable of WorkflowTrace, or ibis.Table
        Journals as a `Tracer` writes them (JSONL, also gzipped, with their further segments); runs; or the table of
        runs. Steps and runs of journals are joined by ``request_id`` and ``step_id``, the later line wins; a run whose
        own line never came is shown as crashed. Where a Parquet copy (`Traces.compact`) is up to date it is read
        instead. Journals above 32 MB are not held in memory: a question that wants more than names, times, success
        and errors reads them again, and keys of records that are not ours are left unread.
    steps : ibis.Table, optional
        The table of steps, where `source` is that of runs: with the columns that
        `causalkit.workflows.stores.schema_of` names, as far as they are asked for.

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
    >>> import tempfile, pathlib
    >>> from causalkit.workflows.tracer import Tracer
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> with Tracer(path).workflow("answer") as run, run.step("search"):
    ...     pass
    >>> load_traces(path)
    <Traces: 1 runs of answer, 0 failed>
    """
    from causalkit.workflows.opening import open_store

    traces = Traces((store := open_store(source, steps)), store.runs, store.caveats)
    if not len(traces):
        raise TraceFormatError(_nothing_in(store.source, store.damage), path=store.source, damage=store.damage)
    if store.damage:
        lost = "; ".join(map(str, store.damage[:5])) + (" and more" if len(store.damage) > 5 else "")
        message = f"read {len(traces)} runs and left out {lost}; see .damage"
        warnings.warn(message, DamagedJournalWarning, stacklevel=2)
    return traces


@dataclass(frozen=True, eq=False, repr=False)
class Traces(TraceAggregates):
    """Recorded runs: lazy, immutable, iterable as `WorkflowTrace`; each filter gives new `Traces`.

    Examples
    --------
    >>> from causalkit.workflows.tracer import Tracer
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer") as run, run.step("search"):
    ...     pass
    >>> load_traces(tracer.runs).filter_by_workflow("answer")
    <Traces: 1 runs of answer, 0 failed>
    """

    caveats: tuple[str, ...] = ()

    @property
    def damage(self) -> tuple[Damage, ...]:
        """The bytes of the journals that hold no record, each with its reason."""
        return self._store.damage

    def __getitem__(self, index: int) -> WorkflowTrace:
        return self._objects[index]

    def __repr__(self) -> str:
        names = sorted(name or "?" for name in self._counted)
        told = ", ".join(names[:_NAMES_SHOWN]) + (
            f" and {more} more" if (more := len(names) - _NAMES_SHOWN) > 0 else ""
        )
        failed = sum(failed for _, failed in self._counted.values())
        return f"<Traces: {len(self)} runs of {told or 'nothing'}, {failed} failed>"

    def _repr_html_(self) -> str:
        from causalkit.workflows.overview import overview_html

        return overview_html(self)

    def runs(self) -> ir.Table:
        """Return the runs as an Ibis table, for any question that has no method here."""
        return self._runs

    def steps(self) -> ir.Table:
        """Return the steps of the runs as an Ibis table."""
        return self._steps

    def filter_by_workflow(self, workflow_name: str) -> Traces:
        """Keep the runs of one workflow."""
        return self._kept(self._runs.workflow_name == workflow_name)

    def filter_by_mode(self, mode: str) -> Traces:
        """Keep the runs of one mode."""
        return self._kept(self._runs.mode == mode)

    def filter_by_success(self, success: bool = True) -> Traces:
        """Keep the runs that succeeded, or those that failed; how many were left out stays as a caveat."""
        kept = self._kept(self._runs.success == success)
        left_out = len(self) - len(kept)
        kind = "failed" if success else "successful"
        caveat = f"{left_out} {kind} runs of {len(self)} are left out: the answer is about the others"
        return replace(kept, caveats=(*self.caveats, caveat)) if left_out else kept

    def filter_by_date_range(
        self, start: str | date | datetime | None = None, end: str | date | datetime | None = None
    ) -> Traces:
        """Keep the runs that began at `start` or later, and before `end` or on that day.

        Parameters
        ----------
        start, end : str, date or datetime, optional
            ISO 8601 or dates. An instant includes itself; a day as `end` includes the whole day. Without a time zone
            they are read as UTC, which stays as a caveat.

        Raises
        ------
        TraceFormatError
            If one is no date, or `end` comes before `start`.
        """
        first, last = read_bound(start, "start"), read_bound(end, "end")
        if first and last and last.latest < first.earliest:
            raise TraceFormatError(
                f"the range ends ({end}) before it starts ({start}); swap the two", start=start, end=end
            )
        kept = self
        if first:
            kept = kept._kept(kept._runs.timestamp >= first.earliest)
        if last:
            kept = kept._kept(kept._runs.timestamp <= last.latest)
        naive = [str(bound.given) for bound in (first, last) if bound and bound.naive]
        caveat = (f"{' and '.join(naive)}: without a time zone, read as UTC",) if naive else ()
        return replace(kept, caveats=(*self.caveats, *caveat))

    def custom_filter(self, condition: Callable[[WorkflowTrace], bool] | ir.BooleanValue | Any) -> Traces:
        """Keep the runs for which a condition is true.

        Parameters
        ----------
        condition : callable or Ibis expression
            A function of a `WorkflowTrace`; or an expression over `runs`, such as ``ibis._.turn_index > 0``.

        Raises
        ------
        TraceFormatError
            If it is neither, or speaks of what the runs do not have.
        """
        import ibis

        if not callable(condition) or hasattr(condition, "resolve"):
            try:
                if isinstance(condition, str):
                    raise TypeError("it is a text")
                return self._kept(condition)
            except (ibis.IbisError, AttributeError, TypeError) as error:
                raise TraceFormatError(
                    f"the condition does not fit these runs ({error}); give a function of a WorkflowTrace, or an Ibis "
                    f"expression such as ibis._.turn_index > 0 over the columns {', '.join(self._runs.columns)}",
                    condition=condition,
                ) from error
        names = [run.request_id for run in self if condition(run)]
        kept = ibis.memtable({"request_id": names}, schema={"request_id": "string"})
        return self._kept(self._runs.request_id.isin(kept.request_id))

    def group_by_workflow(self) -> dict[str, Traces]:
        """Return the runs of each workflow, by its name."""
        return {name: self.filter_by_workflow(name) for name in sorted(self._counted)}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per run with the fields of the run; knobs and attributes are columns."""
        import pandas as pd

        from causalkit.workflows.variables import run_row

        self._need_runs()
        return pd.DataFrame([run_row(run) for run in self])

    def to_trace_table(
        self,
        variables: str | Iterable[str] = ("self",),
        *,
        confounders: Iterable[str] | None = None,
        knobs: Iterable[str] | None = None,
        repeated: Rule = "sum",
    ) -> pd.DataFrame:
        """Return the trace table: one row per run, one column per variable of `causal_graph`.

        See `causalkit.workflows.variables.to_trace_table`.
        """
        from causalkit.workflows.variables import to_trace_table

        self._need_runs()
        return to_trace_table(self, variables, confounders=confounders, knobs=knobs, repeated=repeated)

    def causal_graph(
        self,
        variables: str | Iterable[str] = ("self",),
        *,
        confounders: Iterable[str] | None = None,
        knobs: Iterable[str] | None = None,
        repeated: Rule = "sum",
        required: Iterable[tuple[str, str]] = (),
        forbidden: Iterable[tuple[str, str]] = (),
    ) -> nx.DiGraph[str]:
        """Return the causal graph that the runs themselves prove; every edge says why it is there.

        See `causalkit.workflows.variables.causal_graph`.
        """
        from causalkit.workflows.variables import causal_graph

        self._need_runs()
        return causal_graph(
            self,
            variables,
            confounders=confounders,
            knobs=knobs,
            repeated=repeated,
            required=required,
            forbidden=forbidden,
        )

    def to_router_table(self) -> pd.DataFrame:
        """Return what a router can learn from; see `causalkit.workflows.router_table.to_router_table`."""
        from causalkit.workflows.router_table import to_router_table

        self._need_runs()
        return to_router_table(self)

    def to_parquet(self, path: PathLike) -> Path:
        """Write the runs into one Parquet file, one row a span; see `causalkit.workflows.parquet.write_parquet`."""
        from causalkit.workflows.parquet import write_parquet

        return write_parquet(self, path)

    def to_otlp(self, path: PathLike) -> Path:
        """Write the runs as spans of OpenTelemetry (OTLP/JSON), one run a line, packed if `path` ends in ``.gz``.

        See `causalkit.workflows.otlp_writing.write_otlp`; `read_otlp` brings the same runs back.
        """
        from causalkit.workflows.otlp_writing import write_otlp

        self._need_runs()
        return write_otlp(self, path)

    def plot_latency(self, *, ax: Axes | None = None) -> Axes:
        """Draw the distribution of each step's own time; see `causalkit.plots.latency.plot_latency`."""
        from causalkit.plots.latency import plot_latency

        self._need_runs()
        return plot_latency(self, ax=ax)

    def plot_timeline(self, run: str | int | WorkflowTrace = 0, *, ax: Axes | None = None) -> Axes:
        """Draw the steps of one run over time; see `causalkit.plots.timeline.plot_timeline`."""
        from causalkit.plots.timeline import plot_timeline

        self._need_runs()
        return plot_timeline(self.run(run) if not isinstance(run, WorkflowTrace) else run, ax=ax)

    def plot_failures(self, *, ax: Axes | None = None) -> Axes:
        """Draw which steps failed, and of what; see `causalkit.plots.step_failures.plot_step_failures`."""
        from causalkit.plots.step_failures import plot_step_failures

        return plot_step_failures(self, ax=ax)

    def run(self, which: str | int) -> WorkflowTrace:
        """Return one run by its ``request_id`` or its place."""
        if isinstance(which, int) and -len(self) <= which < len(self):
            return self[which]
        found = self._kept(self._runs.request_id == str(which))._objects
        if not found:
            raise TraceFormatError(f"there is no run {which!r} among these {len(self)}", request_id=which)
        return found[0]

    def _kept(self, condition: Any) -> Traces:
        return replace(self, _runs=self._runs.filter(condition))

    def _need_runs(self) -> None:
        if not len(self):
            source = self._store.source
            raise TraceFormatError(f"no run is left of {source}; loosen the filter or record some runs first")


def _nothing_in(source: str, damage: Sequence[Damage]) -> str:
    if not damage:
        return f"{source} holds no record of a run; run the workflow under a Tracer first, or name its journal"
    return f"{source} holds no whole run record; left out: {'; '.join(map(str, damage[:5]))}"
