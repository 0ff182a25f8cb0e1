"""Which ensembles a judge worked on: by a link, or by a value too special to be there by chance; never by guess.

A link is explicit (`ExecutionContext.link`), or was recorded as the very object that an ensemble returned was passed
on. Without one a judge is linked to an ensemble whose captured result equals one of its captured inputs, if

- the ensemble is of the same run and ended before the judge began;
- no other such ensemble of the run returned an equal value;
- the value was not there before: no input of the ensemble, or of a call around the judge, equals it;
- it is no constant: the same operator was not given it under this name in a run where no ensemble returned it;
- it is worth at least 24 bits (`bits`): one in 16 million others would equal it by chance.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import UUID

from causalkit.operators.agreement import groups, same
from causalkit.operators.calls import OperatorCall
from causalkit.operators.capture import is_summary, summary

_ENOUGH_BITS = 24.0
# Shannon 1951, *Prediction and Entropy of Printed English*: about one bit a letter.
_BITS_A_LETTER = 1.0
# Python writes no longer whole numbers out than some thousand digits.
_LARGEST = 10**18
# That of one decimal number is an estimate, too little to link by; and of which fractions there are but a few.
_BITS_OF_FRACTIONS, _LARGEST_DENOMINATOR = 20.0, 1000


def linked_ensembles(
    judges: Iterable[OperatorCall], calls: Mapping[str, OperatorCall]
) -> dict[str, list[OperatorCall]]:
    """Return the ensembles that each judge worked on, in the order in which they began.

    Parameters
    ----------
    judges : iterable of OperatorCall
    calls : mapping of str to OperatorCall
        All calls by id.

    Returns
    -------
    dict of str to list of OperatorCall
        By the judge's call id; an empty list where nothing links it.
    """
    known = list(judges)
    found = {judge.call_id: _linked(judge, calls) for judge in known}
    found |= _by_value([judge for judge in known if not found[judge.call_id]], calls)
    for linked in found.values():
        linked.sort(key=lambda call: (call.start, call.call_id))
    return found


def bits(value: Any) -> float:
    """Return roughly how special a captured value is, in bits.

    A whole number counts as many as it has without the zeros at its end, a fraction those of numerator and denominator,
    20 at most (1 / 3 is as common as 3). A text counts one for each pair of neighbours that it has not had before.
    Containers count their different items, and what is described in place of itself what the description shows of it.
    Truth values, dates and all else count nothing.

    Examples
    --------
    >>> [round(bits(value)) for value in (True, 7, 1000, "", 0.1 + 0.2, math.pi, [3, 5, 3], "not enough information")]
    [0, 3, 1, 0, 3, 20, 5, 20]
    """
    value = summary(value)
    kind = type(value)
    if kind is int:
        return math.log2(int(str(abs(value) % _LARGEST).rstrip("0") or 0) + 1)
    if kind is float:
        return _bits_of_fraction(value) if math.isfinite(value) else 0.0
    if kind in (str, bytes, UUID):
        return _BITS_A_LETTER * len(set(pairwise(str(value))))
    if is_summary(value):
        return _bits_of_described(value)
    if kind in (dict, list, tuple, set, frozenset):
        items = [*(value.values() if kind is dict else value)]
        return sum(bits(items[group[0]]) for group in groups(items))
    return 0.0


def _bits_of_fraction(value: float) -> float:
    near = Fraction(value).limit_denominator(_LARGEST_DENOMINATOR)
    if not same(float(near), value):
        return _BITS_OF_FRACTIONS
    return min(bits(near.numerator) + bits(near.denominator), _BITS_OF_FRACTIONS)


def _bits_of_described(described: dict[str, Any]) -> float:
    if described.get("digest") is None:
        return 0.0
    if "repr" in described:
        return bits(described["repr"])
    # Of an array no content is shown: fractions differ from one another, labels and masks need not.
    fractions = str(described.get("dtype")).startswith(("float", "complex")) and not _is_uniform(described)
    return _ENOUGH_BITS * (described["size"] >= _FRACTIONS) if fractions else 0.0


# Arrays of fewer fractions are small lists as well, which are written down as what they are.
_FRACTIONS = 8


def _is_uniform(described: dict[str, Any]) -> bool:
    import numpy as np

    blanks = (np.full(described["shape"], blank, described["dtype"]) for blank in (0, 1, math.nan))
    return described["digest"] in (summary(blank)["digest"] for blank in blanks)


def _linked(judge: OperatorCall, calls: Mapping[str, OperatorCall]) -> list[OperatorCall]:
    linked = [calls[call_id] for call_id in dict.fromkeys(judge.links) if call_id in calls]
    return [call for call in linked if call.is_ensemble and call is not judge]


def _by_value(judges: Sequence[OperatorCall], calls: Mapping[str, OperatorCall]) -> dict[str, list[OperatorCall]]:
    found: dict[str, list[OperatorCall]] = {judge.call_id: [] for judge in judges}
    constants, matches = set(), []
    ensembles = _ensembles({judge.run_id for judge in judges}, calls)
    for judge in judges:
        before = [call for call in ensembles[judge.run_id] if call.end is not None and call.end <= judge.start]
        for name, value in judge.inputs.items() if before else ():
            if bits(value) >= _ENOUGH_BITS:
                given = judge.operator_id, name, _text(value)
                equal = [call for call in before if same(call.result, value)]
                if not equal:
                    constants.add(given)
                elif len(equal) == 1 and not _was_there(value, judge, equal[0]):
                    matches.append((judge.call_id, given, equal[0]))
    for judge_id, given, ensemble in matches:
        if given not in constants and ensemble not in found[judge_id]:
            found[judge_id].append(ensemble)
    return found


def _ensembles(runs: Set[str], calls: Mapping[str, OperatorCall]) -> Mapping[str, list[OperatorCall]]:
    found: defaultdict[str, list[OperatorCall]] = defaultdict(list)
    for call in calls.values() if runs else ():
        if call.run_id in runs and call.has_result and call.is_ensemble:
            found[call.run_id].append(call)
    return found


def _text(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # a number of more digits than Python writes out
        return ""


def _was_there(value: Any, judge: OperatorCall, ensemble: OperatorCall) -> bool:
    around = [ensemble]
    outer = judge.parent
    while outer is not None:
        around.append(outer)
        outer = outer.parent
    return any(same(value, given) for call in around for given in call.inputs.values())
