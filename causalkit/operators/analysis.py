"""Questions to recorded operators: how far ensembles disagree, when judges are right, what is slow and what fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from causalkit.errors import CausalkitError
from causalkit.operators import call_times, ensembles
from causalkit.operators.agreement import Equal
from causalkit.operators.calls import OperatorCall
from causalkit.operators.findings import EnsembleDisagreement, JudgeAccuracy, framed, shares_of
from causalkit.operators.lineage import linked_ensembles
from causalkit.operators.selection import CallSelection, collected_later
from causalkit.operators.verdicts import GroundTruth, verdicts

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


class OperatorAnalysis(CallSelection):
    """What events tell of operators; filters choose which calls are asked about and give a new analysis each.

    Filters leave what surrounds a call as it is: its members, its caller and the ensembles of a judge are looked up
    among all calls.

    Parameters
    ----------
    events : iterable of OperatorEvent
        Read once, when something is asked first.
    cluster : str, optional
        Name of a metric, knob or input, reported anywhere in a run, that says which question or case the run is about:
        runs of the same one are not independent, and intervals allow for that. Default: each run is of its own.

    Attributes
    ----------
    calls : tuple of OperatorCall
        Those asked about, in the order in which they began.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.open_calls import emit_metric
    >>> from causalkit.operators.tracing import trace
    >>> @trace(operator_type="ensemble")
    ... def panel(votes):
    ...     return list(votes)
    >>> @trace
    ... def judge(votes, label):
    ...     emit_metric("correct", max(set(votes), key=votes.count) == label)
    >>> with collect_events() as events:
    ...     for votes in (3, 3, 3), (3, 3, 5), (1, 3, 1):
    ...         judge(panel(votes), 3)
    >>> analysis = OperatorAnalysis(events)
    >>> analysis.ensemble_disagreement("pairwise").value.__round__(3)
    0.444
    >>> len(analysis.operator_type("ensemble"))
    3
    """

    @collected_later()
    def ensemble_disagreement(self, measure: str = "non_unanimous", equal: Equal | None = None) -> EnsembleDisagreement:
        """Measure how far the members of ensembles disagree, call by call.

        Parameters
        ----------
        measure : {"non_unanimous", "pairwise", "entropy", "distinct"}
            See `causalkit.operators.agreement`.
        equal : callable, optional
            Whether two votes are equal. Default: `causalkit.operators.agreement.same`.

        Returns
        -------
        EnsembleDisagreement
            The mean over calls with its 95 % interval, ``.by_stage()``, and one row for each call.

        Raises
        ------
        CausalkitError
            If no ensemble was called, or no vote is known.
        """
        return ensembles.ensemble_disagreement(self._ensembles, self.cluster, measure, equal)

    def disagreement_matrix(self, equal: Equal | None = None) -> pd.DataFrame:
        """Return for each two members the share of calls in which their votes differ.

        Returns
        -------
        pandas.DataFrame
            Member by member; NaN for those that never voted together. ``attrs["n"]`` says in how many calls they did.
        """
        return ensembles.disagreement_matrix(self._ensembles, equal)

    @collected_later()
    def accuracy_distribution(self, ground_truth: GroundTruth | None = None) -> pd.DataFrame:
        """Return how often operators are right, by type and stage.

        Parameters
        ----------
        ground_truth : str or mapping, optional
            Under which name the truth was reported, by the call or one around it, or run id -> truth. Default: what
            calls report as metric ``correct``, or else ``accuracy``.

        Returns
        -------
        pandas.DataFrame
            ``mean std n low high``, with 95 % intervals, by ``operator_type`` and ``stage``.
        """
        import pandas as pd

        keys, values, clusters = [], [], []
        for call, right in verdicts(self.calls, ground_truth):
            keys.append((call.operator_type, call.stage))
            values.append(right)
            clusters.append(self.cluster(call.run_id))
        if not keys:
            raise CausalkitError(
                f'nobody says what is right of {len(self)} calls; use emit_metric("correct", ...) or AccuracyMetric in '
                "the operators, or give ground_truth="
            )
        estimates = shares_of(keys, values, clusters)
        index = pd.MultiIndex.from_tuples(list(estimates), names=["operator_type", "stage"])
        frame = framed(estimates, "", "mean").set_axis(index)
        frame["std"] = pd.Series(values).groupby(pd.MultiIndex.from_tuples(keys), dropna=False).std()
        return frame[["mean", "std", "n", "low", "high"]].sort_index()

    @collected_later()
    def judge_accuracy_by_agreement(
        self, equal: Equal | None = None, ground_truth: GroundTruth | None = None
    ) -> JudgeAccuracy:
        """Return how often judges are right where all votes agree, all but one, and so on.

        A judge is linked to its ensemble by an explicit link or by data, never by guess
        (`causalkit.operators.lineage`). The level is the size of a largest group of equal votes, also where several are
        as large; votes of all ensembles that a judge is linked to are pooled.

        Parameters
        ----------
        equal : callable, optional
            Whether two votes, or the verdict and the truth, are equal. Default: `causalkit.operators.agreement.same`.
        ground_truth : str or mapping, optional
            As for `accuracy_distribution`; default: what the judge's call reports as ``correct`` or ``accuracy``.

        Returns
        -------
        JudgeAccuracy
            ``{"3/3": ..., "2/3": ...}``; ``.unlinked`` and ``.unjudged`` count the judges that are left out.

        Raises
        ------
        CausalkitError
            If no judge was called.
        """
        judges = self._of_role("judge", lambda call: call.is_judge)
        right = {call.call_id: value for call, value in verdicts(judges, ground_truth, equal)}
        linked = linked_ensembles(judges, self._all.calls)
        return ensembles.judge_accuracy(judges, linked, right, self.cluster, equal)

    def latency(self) -> pd.DataFrame:
        """Return how long calls took in milliseconds, by operator and stage, the most own time first.

        Returns
        -------
        pandas.DataFrame
            ``n mean_ms median_ms p95_ms sum_ms`` of the whole calls, and with ``self_`` before their names of the time
            in which none of the calls made by them ran. Calls that have not ended are left out.
        """
        return call_times.latency(self.calls)

    def errors(self) -> pd.DataFrame:
        """Return the calls that failed: ``run_id call_id operator_id stage type message timestamp first``.

        ``first`` is False where a call made by it failed in the same way: the error only passed through.
        """
        return call_times.errors(self.calls)

    def critical_path(self, run_id: str | None = None) -> pd.DataFrame:
        """Return how long each operator alone held a run up: ``operator_id ms share``, the longest first.

        Parameters
        ----------
        run_id : str, optional
            Default: the mean over all runs asked about.

        Returns
        -------
        pandas.DataFrame
            Over all operators of the run, which together make up its time; see `causalkit.critical_path.held_up`.
        """
        asked = self if run_id is None else self.run(run_id)
        return call_times.critical_path(self._all.calls, {call.run_id for call in asked.calls})

    def to_pandas(self) -> pd.DataFrame:
        """Return one row for each call, with a column for each metric (``metric_stage`` where a name is taken)."""
        import pandas as pd

        own = call_times.own_ms(self.calls)
        rows = []
        for call in self.calls:
            row = {name: getattr(call, name) for name in _COLUMNS}
            row |= {"self_ms": own.get(call.call_id), "ended": call.ended, "result": call.result}
            row["error_type"] = call.error.get("type")
            rows.append(
                {**row, **{f"metric_{name}" if name in row else name: call.metrics[name] for name in call.metrics}}
            )
        return pd.DataFrame(rows, columns=None if rows else [*_COLUMNS, "self_ms", "ended", "result", "error_type"])

    def to_trace_table(self, **options: Any) -> pd.DataFrame:
        """Return one row for each run asked about; see `causalkit.operators.trace_table.to_trace_table`."""
        from causalkit.operators.trace_table import to_trace_table

        return to_trace_table(self._calls_of_runs(), **options)

    def causal_graph(self, **options: Any) -> nx.DiGraph[str]:
        """Return what can cause what in these runs; see `causalkit.operators.trace_table.causal_graph`."""
        from causalkit.operators.trace_table import causal_graph

        return causal_graph(self._calls_of_runs(), **{"cluster": self._all.named, **options})

    @property
    def _ensembles(self) -> list[OperatorCall]:
        return self._of_role("ensemble", lambda call: call.is_ensemble)

    def _of_role(self, role: str, is_of_role: Callable[[OperatorCall], bool]) -> list[OperatorCall]:
        found = [call for call in self.calls if is_of_role(call)]
        if not found:
            raise CausalkitError(
                f"none of the {len(self)} calls asked about is one of {role}; say it by "
                f'trace(operator_type="{role}") or a stage such as "{role}_1"',
                role=role,
            )
        return found

    def _calls_of_runs(self) -> Mapping[str, OperatorCall]:
        runs = {call.run_id for call in self.calls}
        return {call_id: call for call_id, call in self._all.calls.items() if call.run_id in runs}


_COLUMNS = (
    "operator_id", "operator_type", "stage", "call_id", "parent_call_id", "run_id", "start", "duration_ms",
)  # fmt: skip
