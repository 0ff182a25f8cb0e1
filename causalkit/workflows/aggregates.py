"""What can be counted and averaged over recorded runs and their steps: each answer one Ibis expression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from causalkit.errors import TraceFormatError
from causalkit.workflows.grouping import as_json, as_numbers, key_of, told_of
from causalkit.workflows.stores import Store, of_runs

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    from matplotlib.axes import Axes

    from causalkit.workflows.records import WorkflowTrace

Per = Literal["run", "step"]
By = str | Sequence[str] | None


@dataclass(frozen=True, eq=False, repr=False)
class TraceAggregates:
    """The questions that `causalkit.workflows.traces.Traces` answers with a table."""

    _store: Store
    _runs: ir.Table

    def __iter__(self) -> Iterator[WorkflowTrace]:
        return iter(self._objects)

    def __len__(self) -> int:
        return sum(runs for runs, _ in self._counted.values())

    @cached_property
    def _objects(self) -> tuple[WorkflowTrace, ...]:
        from causalkit.workflows.rebuilding import rebuild

        return rebuild(self._store, self._runs)

    @cached_property
    def _counted(self) -> dict[str, tuple[int, int]]:
        """For each workflow its runs, and how many of them failed."""
        runs = self._runs
        rows = runs.group_by("workflow_name").agg(n=runs.count(), bad=(~runs.success.fill_null(False)).sum())
        return {name: (int(n), int(bad)) for name, n, bad in self._store.frame(rows).itertuples(index=False)}

    @cached_property
    def _steps(self) -> ir.Table:
        return self._store.steps if self._runs is self._store.runs else of_runs(self._store.steps, self._runs)

    def aggregate_latency_stats(self, by: By = None, *, per: Per = "run") -> dict[str, float] | pd.DataFrame:
        """Return how long runs or steps took, in milliseconds.

        Parameters
        ----------
        by : str or sequence of str, optional
            Columns to group by: of `runs`, of `steps` if `per` is ``"step"``, or the name of an attribute or a knob.
        per : {"run", "step"}, default "run"
            Whose latency. That of a step includes its children; `step_times` has its own.

        Returns
        -------
        dict of str to float, or pandas.DataFrame
            ``n min max avg std median p95 p99``; quantiles are exact. With `by` one row per group.

        Raises
        ------
        TraceFormatError
            If there is no such column or attribute.

        Examples
        --------
        >>> from causalkit.workflows.records import WorkflowTrace
        >>> from causalkit.workflows.traces import load_traces
        >>> traces = load_traces(
        ...     WorkflowTrace(request_id=str(n), workflow_name="qa", success=True, total_latency_ms=n)
        ...     for n in (1, 2, 6)
        ... )
        >>> traces.aggregate_latency_stats()["median"]
        2.0
        >>> traces.aggregate_latency_stats(by="workflow_name").loc["qa", "max"]
        np.float64(6.0)
        """
        return self._stats(by, per, "total_latency_ms" if per == "run" else "latency_ms")

    def aggregate_vram_stats(self, by: By = None, *, per: Per = "run") -> dict[str, float] | pd.DataFrame:
        """Return the peak GPU memory of runs or steps in MB, where it was measured; see `aggregate_latency_stats`."""
        return self._stats(by, per, "vram_peak_mb")

    def aggregate_success_rate(self, by: By = None, *, per: Per = "run") -> float | pd.DataFrame:
        """Return the share of runs (or steps) that succeeded.

        Parameters
        ----------
        by, per
            As in `aggregate_latency_stats`.

        Returns
        -------
        float or pandas.DataFrame
            With `by` one row per group: ``n success_rate low high``, the last two the 95 % interval of Wilson (1927)
            for runs that are alike and independent.
        """
        from scipy.stats import binomtest

        rows, groups = self._grouped(by, per, "success")
        counts = self._answer(rows, groups, {"n": rows.count(), "good": rows.success.sum()})
        if not groups:
            return float(counts["good"].iloc[0] / counts["n"].iloc[0]) if counts["n"].iloc[0] else float("nan")
        bounds = [binomtest(int(k), int(n)).proportion_ci(method="wilson") for n, k in counts.itertuples(index=False)]
        counts["success_rate"] = counts.pop("good") / counts["n"]
        return counts.assign(low=[bound.low for bound in bounds], high=[bound.high for bound in bounds])

    def aggregate_quality_signals(
        self, by: By = None, *, signals: Sequence[str] = ()
    ) -> dict[str, float] | pd.DataFrame:
        """Return means of the quality signals.

        Parameters
        ----------
        by : str or sequence of str, optional
            As in `aggregate_latency_stats`.
        signals : sequence of str
            Signals of your own, numbers or truth values, to be averaged as well.

        Returns
        -------
        dict of str to float, or pandas.DataFrame
            ``n avg_citation_count avg_answer_length has_search_rate has_citations_rate has_structure_rate
            failure_rate`` and ``avg_<signal>``; runs without a signal do not count for it.
        """
        rows, groups = self._grouped(by, "run", "success", "quality_signals")
        means = {"n": rows.count()}
        means |= {f"avg_{name}": _signal(rows, name).mean() for name in ("citation_count", "answer_length")}
        means |= {
            f"{name}_rate": _signal(rows, name).mean() for name in ("has_search", "has_citations", "has_structure")
        }
        means["failure_rate"] = (~rows.success).cast("float64").mean()
        means |= {f"avg_{name}": _signal(rows, name).mean() for name in signals}
        return self._shaped(self._answer(rows, groups, means), groups)

    def find_failed_steps(self) -> pd.DataFrame:
        """Return one row per failed step: who, where, which error, when, and the stack."""
        failed = self._steps.filter(~self._steps.success)
        rows = failed.select(
            "request_id",
            "step_name",
            "error",
            "error_type",
            "error_stack",
            workflow=failed.workflow_name,
            timestamp=failed.start,
        )
        names = ["request_id", "workflow", "step_name", "error", "error_type", "timestamp", "error_stack"]
        return self._store.frame(rows.order_by(["timestamp", "request_id"]).select(*names))

    def failure_causes(self) -> pd.DataFrame:
        """Return the failed steps by their cause, the most frequent first.

        Returns
        -------
        pandas.DataFrame
            ``step_name error_type n runs first last example``: how often, in how many runs, when first and last, and
            the message of the first.
        """
        failed = self._steps.filter(~self._steps.success)
        rows = failed.group_by("step_name", "error_type").agg(
            n=failed.count(),
            runs=failed.request_id.nunique(),
            first=failed.start.min(),
            last=failed.start.max(),
            example=failed.error.argmin(failed.start),
        )
        return self._store.frame(rows.order_by([rows.n.desc(), "step_name", "error_type"]))

    def latency_over_time(self, every: str = "1h", by: By = None, *, per: Per = "run") -> pd.DataFrame:
        """Return median and p95 of the latency over time.

        Parameters
        ----------
        every : str, default "1h"
            How wide a bin is: a number and one of ``s m h D``.
        by, per
            As in `aggregate_latency_stats`.

        Returns
        -------
        pandas.DataFrame
            ``time`` (UTC, where the bin begins), ``n median p95`` in milliseconds, and the columns of `by`; bins in
            which nothing ran have no row.
        """
        import pandas as pd

        try:
            seconds = pd.Timedelta(every).total_seconds()
            if not seconds >= 1:
                raise ValueError(every)
        except ValueError:
            raise TraceFormatError(
                f"every={every!r} is no width of a second or more; write '15m', '1h' or '1D'", every=every
            ) from None
        begin, took = ("timestamp", "total_latency_ms") if per == "run" else ("start", "latency_ms")
        rows, groups = self._grouped(by, per, begin, took)
        rows = rows.drop_null([begin])
        rows = rows.mutate(bin=(rows[begin].epoch_seconds() // seconds).cast("int64"))
        binned = rows.group_by("bin", *map(key_of, groups)).agg(
            n=rows[took].count(), median=rows[took].median(), p95=rows[took].quantile(0.95)
        )
        frame = self._ordered(self._store.frame(binned), groups, "bin")
        frame = frame.rename(columns={key_of(name): name for name in groups})
        frame.insert(0, "time", pd.to_datetime(frame.pop("bin") * seconds, unit="s", utc=True))
        frame.attrs["every_s"] = seconds
        return frame

    def step_times(self, by: By = None) -> pd.DataFrame:
        """Return each step's own time, without its children, in milliseconds.

        Where steps ran at the same time, what they cover together counts once for their parent.

        Parameters
        ----------
        by : str or sequence of str, optional
            Further columns to group by; see `aggregate_latency_stats`.

        Returns
        -------
        pandas.DataFrame
            One row per step name: ``n min max avg std median p95 p99`` of the own time.
        """
        from causalkit.workflows.step_times import with_self_time

        spans = ("request_id", "step_id", "parent_id", "start", "latency_ms")
        rows, groups = self._grouped([*_listed(by), "step_name"], "step", *spans)
        return self._answer(timed := with_self_time(rows), groups, _statistics(timed.self_ms))

    def critical_path(self) -> pd.DataFrame:
        """Return how much of the runs' time each step alone held up.

        Returns
        -------
        pandas.DataFrame
            One row per step name and one for ``(outside all steps)``, the longest first: ``avg_ms`` a run, its
            ``share`` of the total, and in what share of the ``runs`` the step was on the path at all. The times of a
            run add up to its total exactly, also where steps ran in parallel.
        """
        from causalkit.workflows.step_times import critical_times

        return critical_times(self)

    def plot_latency_over_time(self, every: str = "1h", by: By = None, *, ax: Axes | None = None) -> Axes:
        """Draw median and p95 over time; see `causalkit.plots.latency_over_time.plot_latency_over_time`."""
        from causalkit.plots.latency_over_time import plot_latency_over_time

        return plot_latency_over_time(self.latency_over_time(every, by), ax=ax)

    def _stats(self, by: By, per: Per, column: str) -> dict[str, float] | pd.DataFrame:
        of_steps = column == "vram_peak_mb" and per == "run"
        rows, groups = self._grouped(by, per, "request_id" if of_steps else column)
        if of_steps:
            steps = self._steps
            peaks = steps.group_by("request_id").agg(vram_peak_mb=steps.vram_peak_mb.max())
            rows = rows.left_join(peaks, "request_id")
        return self._shaped(self._answer(rows, groups, _statistics(rows[column])), groups)

    def _grouped(self, by: By, per: Per, *needed: str) -> tuple[ir.Table, list[str]]:
        """Return what is needed of the runs or steps, beside it what to group by, and the names of that."""
        import ibis

        if per not in ("run", "step"):
            raise TraceFormatError(f"per={per!r} is neither 'run' nor 'step'", per=per)
        names, runs = _listed(by), self._runs
        rows = runs if per == "run" else self._steps
        keys = {key_of(name): rows[name] for name in names if name in rows.columns}
        told = {key_of(name): runs[name] if name in runs.columns else told_of(runs, name) for name in names}
        lacking = {key: value for key, value in told.items() if key not in keys}
        if per == "run" or not lacking:
            return rows.select(*needed, **keys, **lacking), names
        joined = rows.inner_join(runs.select(**lacking, of="request_id"), [("request_id", "of")])
        for name in names:
            if (key := key_of(name)) in lacking:
                own = [] if name in runs.columns else [told_of(rows, name)]
                keys[key] = ibis.coalesce(*own, joined[key])
        return joined.select(*needed, **keys), names

    def _answer(self, rows: ir.Table, groups: list[str], values: dict[str, Any]) -> pd.DataFrame:
        if not groups:
            return self._store.frame(rows.aggregate(**values))
        answer = rows.group_by([key_of(name) for name in groups]).agg(**values)
        return (
            self._ordered(self._store.frame(answer), groups)
            .set_index([key_of(name) for name in groups])
            .rename_axis(groups)
        )

    def _ordered(self, frame: pd.DataFrame, groups: list[str], *before: str) -> pd.DataFrame:
        """Give the groups an order, and numbers where all of one are."""
        known = {*self._runs.columns, *self._steps.columns}
        for name in groups:
            values = frame[key_of(name)]
            if name not in known and len(frame) and values.isna().all():
                raise TraceFormatError(
                    f"nothing to group by is called {name!r}: no attribute or knob, and the columns are "
                    f"{', '.join(sorted(known))}",
                    by=name,
                )
            if name not in known:
                frame[key_of(name)] = as_numbers(values)
        return frame.sort_values([*before, *map(key_of, groups)], ignore_index=True)

    def _shaped(self, frame: pd.DataFrame, groups: list[str]) -> dict[str, float] | pd.DataFrame:
        if groups:
            return frame
        return {str(name): float("nan") if value is None else float(value) for name, value in frame.iloc[0].items()}


def _statistics(values: ir.NumericValue) -> dict[str, Any]:
    return {
        "n": values.count(),
        "min": values.min(),
        "max": values.max(),
        "avg": values.mean(),
        "std": values.std(how="sample"),
        "median": values.median(),
        "p95": values.quantile(0.95),
        "p99": values.quantile(0.99),
    }


def _listed(by: By) -> list[str]:
    names = [by] if isinstance(by, str) else list(by) if isinstance(by, Iterable) else [] if by is None else [by]
    for name in names:
        if not isinstance(name, str):
            raise TraceFormatError(
                f"by={by!r} is no name; group by a column, an attribute or a knob, or several", by=by
            )
    return names


def _signal(rows: ir.Table, name: str) -> Any:
    text = as_json(rows.quality_signals)[name].cast("string")
    return text.cases(("true", 1.0), ("false", 0.0), ("null", None), else_=text.try_cast("float64"))
