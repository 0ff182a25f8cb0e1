"""What the members of an ensemble voted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from causalkit.operators.calls import OperatorCall, calls_of
from causalkit.operators.listening import collect_events
from causalkit.operators.votes import is_known, is_member, members_of, votes_of
from tests.operators.family import operator


def ensemble_of(work: Callable[[], Any], capture: Any = "summary") -> OperatorCall:
    with collect_events(capture=capture) as events:
        operator("panel", work, operator_type="ensemble")()
    return next(iter(calls_of(events).values()))


def member(name: str, vote: Any, operator_type: str = "member") -> Any:
    return operator(name, lambda: vote, operator_type=operator_type)()


def test_members_are_the_calls_whose_type_says_so_or_else_all_that_it_made() -> None:
    told = ensemble_of(lambda: (member("a", 3), member("b", 5), member("scale", 1.0, "tool")))
    assert votes_of(told) == {"a": 3, "b": 5}
    assert [call.operator_id for call in members_of(told)] == ["a", "b"]
    assert votes_of(ensemble_of(lambda: (member("a", 3, "tool"), member("b", 5, "function")))) == {"a": 3, "b": 5}


def test_who_votes_twice_has_a_number_behind_the_name() -> None:
    assert votes_of(ensemble_of(lambda: [member("a", vote) for vote in (3, 5, 7)])) == {"a": 3, "a #2": 5, "a #3": 7}


def test_who_failed_or_was_not_captured_did_not_vote() -> None:
    def fail() -> None:
        raise ValueError("no")

    def work() -> None:
        member("a", 3)
        member("unknown", object())
        member("nothing", None)
        with pytest.raises(ValueError, match="no"):
            operator("fails", fail, operator_type="member")()

    assert votes_of(ensemble_of(work)) == {"a": 3, "nothing": None}
    assert votes_of(ensemble_of(work, capture="none")) == {}


@pytest.mark.parametrize(
    ("result", "votes"),
    [
        ([3, 5], {"0": 3, "1": 5}),
        ((3, None), {"0": 3, "1": None}),
        ({"a": 3, "b": 5}, {"a": 3, "b": 5}),
        (3, {}),
        ([0] * 1000, {}),
    ],
)
def test_of_an_ensemble_that_calls_nobody_the_items_of_the_result_are_the_votes(result: Any, votes: Any) -> None:
    assert votes_of(ensemble_of(lambda: result)) == votes


def test_long_votes_are_known_by_their_digest() -> None:
    votes = votes_of(ensemble_of(lambda: (member("a", "x" * 500), member("b", "x" * 500), member("c", "y" * 500))))
    assert votes["a"] == votes["b"] != votes["c"]
    assert is_known(votes["a"])


def test_a_type_says_that_it_is_a_member() -> None:
    assert [is_member(name) for name in ("member", "EnsembleMember", "ensemble", "judge")] == [True, True, False, False]
