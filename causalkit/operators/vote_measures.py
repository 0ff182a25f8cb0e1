"""The measures of disagreement as formulas of an SCM: of the votes, or of how many are right and how the wrong spread.

Of ``n`` votes, ``r`` of them right, with the wrong ones in groups of equal votes:

=============  ======================================================  =============================
measure        what it takes of the wrong votes                        column
=============  ======================================================  =============================
non_unanimous  whether they differ among themselves                    ``<ensemble>_wrong_differ``
pairwise       how many pairs of them agree                            ``<ensemble>_wrong_pairs``
entropy        the sum of c log(c) over their groups of c              ``<ensemble>_wrong_entropy``
distinct       how many groups there are                               ``<ensemble>_wrong_answers``
=============  ======================================================  =============================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """What a measure takes of the wrong votes.

    Attributes
    ----------
    suffix : str
        Of its column.
    of : callable
        Takes the sizes of the groups of equal wrong votes.
    formula : str
        The measure, with fields for the names of the numbers of ``votes`` and of ``right`` ones and for the ``spread``.
        That is kept within what so many wrong votes allow, whatever an SCM draws.
    """

    suffix: str
    of: Callable[[Sequence[int]], float | bool]
    formula: str


SPREADS = {
    "non_unanimous": Spread(
        "wrong_differ",
        lambda sizes: len(sizes) > 1,
        "max(({right} > 0) * ({right} < {votes}), {spread} * ({votes} - {right} > 1))",
    ),
    "pairwise": Spread(
        "wrong_pairs",
        lambda sizes: sum(size * (size - 1) for size in sizes) / 2,
        "1 - ({right} * ({right} - 1) + min(max(2 * {spread}, 0), ({votes} - {right}) * ({votes} - {right} - 1)))"
        " / ({votes} * ({votes} - 1)) if {votes} > 1 else 0",
    ),
    "entropy": Spread(
        "wrong_entropy",
        lambda sizes: sum(size * math.log(size) for size in sizes),
        "1 - ({right} * math.log(max({right}, 1)) + min(max({spread}, 0), ({votes} - {right})"
        " * math.log(max({votes} - {right}, 1)))) / ({votes} * math.log({votes})) if {votes} > 1 else 0",
    ),
    "distinct": Spread(
        "wrong_answers",
        len,
        "(({right} > 0) + min(max({spread}, {right} < {votes}), {votes} - {right}) - 1) / ({votes} - 1)"
        " if {votes} > 1 else 0",
    ),
}


def formula_of_votes(measure: str, votes: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return a measure of disagreement as a formula of votes that are whole numbers, -1 for none.

    Parameters
    ----------
    measure : {"non_unanimous", "pairwise", "entropy", "distinct"}
    votes : sequence of (str, sequence of int)
        Of each member what stands for its vote in the formula, and the votes that occur.

    Examples
    --------
    >>> formula_of_votes("non_unanimous", [("knn_vote", [0, 7]), ("svm_vote", [-1, 7])])
    'max(knn_vote, svm_vote) > min(knn_vote, svm_vote if svm_vote >= 0 else 7)'
    """
    answers = sorted({vote for _, cast in votes for vote in cast if vote >= 0})
    if measure == "non_unanimous":
        highest = max(answers, default=0)
        least = [f"{name} if {name} >= 0 else {highest}" if min(cast) < 0 else name for name, cast in votes]
        return f"max({', '.join(name for name, _ in votes)}) > min({', '.join(least)})"
    counts = [_sum(f"({name} == {answer})" for name, cast in votes if answer in cast) for answer in answers]
    number = _sum(f"({name} >= 0)" for name, _ in votes)
    fields = {"number": number, "groups": _sum(f"({count} > 0)" for count in counts)}
    fields["pairs"] = _sum(f"{count} * ({count} - 1)" for count in counts)
    fields["logs"] = _sum(f"{count} * math.log(max({count}, 1))" for count in counts)
    return _OF_COUNTS[measure].format(**fields)


_OF_COUNTS = {
    "pairwise": "1 - {pairs} / ({number} * ({number} - 1)) if {number} > 1 else 0",
    "entropy": "1 - {logs} / ({number} * math.log({number})) if {number} > 1 else 0",
    "distinct": "({groups} - 1) / ({number} - 1) if {number} > 1 else 0",
}


def _sum(terms: Iterable[str]) -> str:
    return f"({' + '.join(terms)})"
