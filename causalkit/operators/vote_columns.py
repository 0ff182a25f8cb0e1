"""The columns of a trace table: what was reported, and what members and judges made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causalkit.errors import CausalkitError, GraphError
from causalkit.operators.agreement import MEASURES
from causalkit.operators.calls import OperatorCall
from causalkit.operators.decisions import NO_VOTE, Decisions, Ensemble, has_verdict
from causalkit.operators.vote_measures import SPREADS

if TYPE_CHECKING:
    import pandas as pd

TOTAL = "total_latency_ms"
RIGHT, WRONG = 1, -1


def table_of(found: Decisions, measure: str) -> pd.DataFrame:
    """Return the trace table of what calls tell."""
    import pandas as pd

    if measure not in MEASURES:
        raise CausalkitError(
            f"there is no measure {measure!r}; choose one of {', '.join(MEASURES)}",
            measure=measure,
        )
    columns = _Columns(found)
    for values in found.reported.values():
        for name, by_run in values.items():
            if name != found.truth:
                columns.add(name, by_run)
    if found.truth is not None:
        columns.add_codes(found.truth, {run: found.codes.code(truth) for run, truth in found.truths.items()})
    for ensemble in found.ensembles:
        _add_ensemble(columns, ensemble, measure)
    for name, judge in found.judges.items():
        _add_judge(columns, name, judge)
    roots = {
        run: [call.duration_ms or 0.0 for call in calls if call.parent is None] for run, calls in found.runs.items()
    }
    columns.add(TOTAL, {run: float(sum(times)) for run, times in roots.items()})
    table = pd.DataFrame(columns.columns, index=pd.Index(list(found.runs), name="run_id"))
    table.attrs["vote_labels"] = dict(found.codes.answers)
    table.attrs["knobs"] = list(found.reported["knob"])
    return table


class _Columns:
    """The columns of a table, put together one after the other."""

    def __init__(self, found: Decisions) -> None:
        import pandas as pd

        self.found = found
        self.columns: dict[str, pd.Series[Any]] = {}
        self._codes = pd.CategoricalDtype([NO_VOTE, *sorted(found.codes.answers)])

    def add(self, name: str, values: Mapping[str, Any], dtype: Any = None) -> None:
        """Add a column from its values by run."""
        import pandas as pd

        if name in self.columns:
            raise GraphError(f"two columns would be called {name!r}; rename what is reported or called so", node=name)
        runs = list(self.found.runs)
        self.columns[name] = pd.Series(
            [values.get(run) for run in runs], index=pd.Index(runs, name="run_id"), dtype=dtype
        )

    def add_codes(self, name: str, codes: Mapping[str, int]) -> None:
        """Add a column of codes of answers."""
        self.add(name, codes, self._codes)


def _add_ensemble(columns: _Columns, ensemble: Ensemble, measure: str) -> None:
    found = columns.found
    codes = {
        run: {member: found.codes.code(vote) for member, vote in votes.items()} for run, votes in ensemble.votes.items()
    }
    truths = {run: found.codes.code(truth) for run, truth in found.truths.items() if run in codes}
    for member, column in ensemble.columns.items():
        _add_taking_part(columns, ensemble, member)
        columns.add_codes(f"{column}_vote", {run: cast.get(member, NO_VOTE) for run, cast in codes.items()})
        if found.truth is not None:
            rights = {run: _right(codes[run].get(member), truth) for run, truth in truths.items()}
            columns.add(f"{column}_right", rights, _three_kinds())
    columns.add(f"{ensemble.name}_votes", {run: float(len(cast)) for run, cast in codes.items()})
    sizes = {run: Counter(cast.values()) for run, cast in codes.items()}
    if found.truth is not None:
        wrong = {run: [size for code, size in sizes[run].items() if code != truth] for run, truth in truths.items()}
        columns.add(f"{ensemble.name}_right_votes", {run: float(sizes[run][truth]) for run, truth in truths.items()})
        spread = SPREADS[measure]
        columns.add(f"{ensemble.name}_{spread.suffix}", {run: spread.of(groups) for run, groups in wrong.items()})
    disagreement = {run: MEASURES[measure](list(groups.values())) if groups else 0.0 for run, groups in sizes.items()}
    columns.add(f"{ensemble.name}_disagreement", disagreement)


def _add_taking_part(columns: _Columns, ensemble: Ensemble, member: str) -> None:
    name = f"{ensemble.columns[member]}_takes_part"
    if name in columns.columns:
        reported = columns.columns.pop(name).dropna()
        columns.add(name, {str(run): bool(value) for run, value in reported.items()})
        return
    took_part = {run: ensemble.takes_part(run, member) for run in ensemble.calls}
    if len(set(took_part.values())) > 1:
        columns.add(name, took_part)


def _right(vote: int | None, truth: int) -> int:
    return 0 if vote is None else RIGHT if vote == truth else WRONG


def _three_kinds() -> Any:
    import pandas as pd

    return pd.CategoricalDtype([WRONG, 0, RIGHT])


def _add_judge(columns: _Columns, name: str, judge: Mapping[str, OperatorCall]) -> None:
    found = columns.found
    verdicts = {run: found.codes.code(call.result) for run, call in judge.items() if has_verdict(call)}
    columns.add_codes(f"{name}_verdict", verdicts)
    correct: dict[str, bool] = {}
    for run, call in judge.items():
        told = call.metrics.get("correct", call.metrics.get("accuracy"))
        if told is not None:
            correct[run] = bool(told)
        elif run in verdicts and run in found.truths:
            correct[run] = verdicts[run] == found.codes.code(found.truths[run])
    if correct:
        columns.add(f"{name}_correct", correct)
