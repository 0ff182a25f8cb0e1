"""How far the votes of ensembles differ: over all members, between each two of them, and where a judge decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import MEASURES, Equal, agreement, disagreement, groups
from causalkit.operators.calls import OperatorCall
from causalkit.operators.findings import EnsembleDisagreement, JudgeAccuracy
from causalkit.operators.intervals import share
from causalkit.operators.votes import members_of, votes_of

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["run_id", "call_id", "operator_id", "stage", "disagreement", "votes", "agreement"]


def ensemble_disagreement(
    ensembles: Sequence[OperatorCall], cluster: Callable[[str], Hashable], measure: str, equal: Equal | None
) -> EnsembleDisagreement:
    """Answer `OperatorAnalysis.ensemble_disagreement`."""
    import pandas as pd

    # Of no votes at all this asks only whether there is such a measure.
    disagreement((0,), measure)
    rows, clusters = [], []
    counts: Counter[str] = Counter()
    for call in ensembles:
        votes = [*votes_of(call).values()]
        _count(counts, call, len(votes))
        if votes:
            sizes = [len(group) for group in groups(votes, equal)]
            told = MEASURES[measure](sizes), len(votes), f"{max(sizes)}/{len(votes)}"
            rows.append((call.run_id, call.call_id, call.operator_id, call.stage, *told))
            clusters.append(cluster(call.run_id))
    if not clusters:
        raise CausalkitError(f"no vote of the {len(ensembles)} ensemble calls is known; {_CAPTURE}", n=len(ensembles))
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return EnsembleDisagreement(frame, _caveats(counts, frame, measure), measure, tuple(clusters))


def disagreement_matrix(ensembles: Sequence[OperatorCall], equal: Equal | None) -> pd.DataFrame:
    """Answer `OperatorAnalysis.disagreement_matrix`."""
    import numpy as np
    import pandas as pd

    several = len({call.operator_id for call in ensembles}) > 1
    places: dict[str, int] = {}
    cells: list[tuple[int, int, int]] = []
    for row, call in enumerate(ensembles):
        known = votes_of(call)
        # The items of a result have only numbers or keys: another ensemble's are other members.
        owner = f"{call.operator_id}: " if several and not call.children else ""
        columns = [places.setdefault(f"{owner}{name}", len(places)) for name in known]
        together = groups([*known.values()], equal)
        cells += [(row, columns[place], number) for number, group in enumerate(together) for place in group]
    choices = np.full((len(ensembles), len(places)), -1)
    if cells:
        rows, columns, numbers = np.array(cells).T
        choices[rows, columns] = numbers
    voted = choices >= 0
    both = voted.T.astype(float) @ voted
    differ = [((choices != choices[:, [place]]) & voted & voted[:, [place]]).sum(axis=0) for place in places.values()]
    names = sorted(places)
    order = np.ix_([places[name] for name in names], [places[name] for name in names])
    with np.errstate(invalid="ignore"):
        shares = np.reshape(differ, both.shape) / both
    frame = pd.DataFrame(shares[order], names, names)
    counts = pd.DataFrame(both[order].astype(int), names, names)
    # Not a frame: pandas compares these by ==.
    frame.attrs["n"] = counts.to_dict()
    return frame


def judge_accuracy(
    judges: Iterable[OperatorCall],
    linked: Mapping[str, Sequence[OperatorCall]],
    right: Mapping[str, float],
    cluster: Callable[[str], Hashable],
    equal: Equal | None,
) -> JudgeAccuracy:
    """Answer `OperatorAnalysis.judge_accuracy_by_agreement`; `linked` and `right` by the judges' call ids."""
    unlinked = unjudged = unknown = 0
    found: dict[tuple[int, int], tuple[list[float], list[Hashable]]] = {}
    for judge in judges:
        ensembles = linked[judge.call_id]
        pooled = [vote for call in ensembles for vote in votes_of(call).values()]
        if not ensembles:
            unlinked += 1
        elif not pooled:
            unknown += 1
        elif judge.call_id not in right:
            unjudged += 1
        else:
            values, clusters = found.setdefault(agreement(pooled, equal), ([], []))
            values.append(right[judge.call_id])
            clusters.append(cluster(judge.run_id))
    best_first = sorted(found, key=lambda level: (-level[0] / level[1], -level[1]))
    caveats = [
        f"{count} judge calls are left out: {why}"
        for count, why in (
            (unlinked, "no link, and no value that is special enough, says which ensemble they worked on; see "
                       "ExecutionContext.link"),
            (unknown, f"no vote of their ensemble is known; {_CAPTURE}"),
            (unjudged, 'nobody says what was right; use emit_metric("correct", ...) or ground_truth='),
        )
        if count
    ]  # fmt: skip
    return JudgeAccuracy({f"{k}/{n}": share(*found[k, n]) for k, n in best_first}, caveats, unlinked, unjudged)


_CAPTURE = 'large or uncaptured results cannot be compared: collect with capture="copy"'


def _count(counts: Counter[str], ensemble: OperatorCall, known: int) -> None:
    members = members_of(ensemble)
    failed = sum([member.ended == "error" for member in members])
    counts["failed"] += failed
    counts["unknown"] += len(members) - failed - known if members and known else 0
    counts["silent"] += not known
    counts["single"] += known == 1


def _caveats(counts: Counter[str], frame: pd.DataFrame, measure: str) -> list[str]:
    fewest, most = frame["votes"].min(), frame["votes"].max()
    told = (
        (counts["single"], f"{counts['single']} ensemble calls have a single vote, which counts as no disagreement"),
        (counts["silent"], f"{counts['silent']} ensemble calls without a known vote are left out; {_CAPTURE}"),
        (counts["failed"], f"{counts['failed']} calls of members failed: these did not vote"),
        (counts["unknown"], f"{counts['unknown']} votes are not known and left out; {_CAPTURE}"),
        (
            measure == "non_unanimous" and fewest < most,
            f"ensembles of {fewest} to {most} votes are taken together, and more votes are less often unanimous; see "
            "by_stage()",
        ),
    )
    return [caveat for count, caveat in told if count]
