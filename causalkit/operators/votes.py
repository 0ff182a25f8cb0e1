"""What the members of an ensemble voted in one call of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from causalkit.operators.calls import OperatorCall
from causalkit.operators.capture import is_summary


def members_of(ensemble: OperatorCall) -> list[OperatorCall]:
    """Return the calls of the members: those whose type says ``member``, or else all calls that the ensemble made."""
    named = [call for call in ensemble.children if is_member(call.operator_type)]
    return named or ensemble.children


def is_member(operator_type: str) -> bool:
    """Return whether a type says that an operator is the member of an ensemble.

    Examples
    --------
    >>> is_member("ensemble_member"), is_member("ensemble")
    (True, False)
    """
    return "member" in operator_type.lower()


def votes_of(ensemble: OperatorCall) -> dict[str, Any]:
    """Return what each member voted.

    Members are calls made by the ensemble; where it made none, the items of its result are the votes. A member that
    failed, or whose result was not captured whole, did not vote.

    Parameters
    ----------
    ensemble : OperatorCall

    Returns
    -------
    dict
        Member -> vote; a member that voted twice has a number behind its name.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> told = {"call_id": "1", "parent_call_id": None, "run_id": "1", "start": datetime.now(UTC)}
    >>> votes_of(OperatorCall("panel", "ensemble", stage=None, result=[3, 5], has_result=True, **told))
    {'0': 3, '1': 5}
    """
    members = members_of(ensemble)
    if members:
        return _named((call.operator_id, call.result) for call in members if call.has_result and is_known(call.result))
    result = ensemble.result
    if isinstance(result, dict) and not is_summary(result):
        return _named((str(name), vote) for name, vote in result.items() if is_known(vote))
    if isinstance(result, list | tuple):
        return _named((str(place), vote) for place, vote in enumerate(result) if is_known(vote))
    return {}


def is_known(vote: Any) -> bool:
    """Return whether two votes like this can be compared: it is there whole, or with a digest.

    Examples
    --------
    >>> is_known(3), is_known({"causalkit.type": "Answer", "digest": None})
    (True, False)
    """
    return not is_summary(vote) or vote.get("digest") is not None


def _named(votes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, vote in votes:
        number, unique = 1, name
        while unique in named:
            number += 1
            unique = f"{name} #{number}"
        named[unique] = vote
    return named
