from __future__ import annotations

import math
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import MEASURES, agreement, disagreement, groups, same

# Values that are nearly equal and of several kinds, so that drawn votes often agree.
NEAR = [0.3, 0.1 + 0.2, 0.3 + 2e-10, 0.3 + 4e-10, 0.3 + 6e-10, 0.0, 1e-13, -1e-13, 1.0, math.nan, math.inf, -math.inf]
MIXED = [*NEAR, 1, True, False, "1", "a", None, b"a", 10**15, 10**15 + 1, 1e15, (1, 2), [1.0, 2.0], {"a": 1}, {1}]
votes_of_any_kind = st.lists(st.sampled_from(MIXED), min_size=1, max_size=7)
numbers = st.lists(st.sampled_from(NEAR) | st.floats(), min_size=1, max_size=9)
labels = st.lists(st.integers(0, 4), min_size=1, max_size=9)


def as_sets(places: list[list[int]], votes: list[Any]) -> set[frozenset[int]]:
    """Return the groups by the identity of the votes' places before they were shuffled."""
    return {frozenset(votes[place] for place in group) for group in places}


def raising(self: object, other: object) -> bool:
    raise RuntimeError("not comparable")


class Uncomparable:
    __eq__ = raising
    __hash__ = None  # type: ignore[assignment]


@dataclass
class Verdict:
    label: str
    scores: Any = None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0), (1, True), (0.1 + 0.2, 0.3), (math.nan, float("nan")), (1e-13, 0), (math.inf, math.inf),
        (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"), (np.array(3), 3),
        (np.float64("nan"), math.nan), (Decimal("0.1"), 0.1), (1 + 2j, 1 + 2j + 1e-12), (10**400, 10**400),
        ([1, 2], (1.0, 2)), ([1, [2, {"a": 0.3}]], [1, (2, {"a": 0.1 + 0.2})]), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}),
        ({1, 2}, frozenset({2.0, 1})), ({0.1 + 0.2}, {0.3}), ({("a", 0.3)}, {("a", 0.1 + 0.2)}), (set(), set()),
        (np.array([0.3, math.nan, math.inf]), np.array([0.1 + 0.2, math.nan, math.inf])),
        (np.array([1, 2]), np.array([1.0, 2.0])), (np.array([1.0, 2.0]), [1, 2]), (np.array(["a", "b"]), ["a", "b"]),
        (np.array([{"a": 1}, None], object), np.array([{"a": 1.0}, None], object)),
        (Verdict("cat"), Verdict("cat")), (pd.Timestamp("2026-01-02"), pd.Timestamp("2026-01-02")), (None, None),
    ],
)  # fmt: skip
def test_equal_values_are_the_same_both_ways_round(a: Any, b: Any) -> None:
    assert same(a, b)
    assert same(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1", 1), (1, 1 + 1e-8), (10**15, 10**15 + 1), (math.inf, -math.inf), (math.inf, 1e308), (math.nan, None),
        (10**400, 1.0), (1 + 2j, 1 - 2j), ([1, 2], [1, 2, 3]), ([1], 1), ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}),
        ({1, 2}, {1, 3}), ({0.3}, {0.3, 0.1 + 0.2}), ({1}, [1]), ("ab", ["a", "b"]), (b"a", "a"),
        (np.zeros((0, 2)), np.zeros((0, 3))), (np.array([1, 2]), np.array([[1, 2]])), (np.array([1.0]), [math.inf]),
        (np.array([1.0]), np.array([math.inf])),
        (np.array([2**62]), np.array([2**62 + 1])), (np.array(["1"]), np.array([1])), (np.array([1.0]), 1),
        (Verdict("cat"), Verdict("dog")), (Uncomparable(), Uncomparable()),
        (Verdict("cat", np.zeros(2)), Verdict("cat", np.zeros(2))),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})), (pd.Series([1]), pd.Series([1])), (pd.NA, 1),
    ],
)  # fmt: skip
def test_different_and_uncomparable_values_are_not_the_same(a: Any, b: Any) -> None:
    assert not same(a, b)
    assert not same(b, a)


@pytest.mark.parametrize("value", [Uncomparable(), pd.DataFrame({"a": [1]}), pd.NA, Verdict("a", np.zeros(2))])
def test_what_cannot_be_compared_is_the_same_as_itself(value: Any) -> None:
    assert same(value, value)
    assert same([value], (value,))
    assert agreement([value, value, 1]) == (2, 3)


def test_values_that_hold_themselves_or_nest_deeply_are_compared() -> None:
    def ring(end: int) -> list[Any]:
        values: list[Any] = [end]
        values.append(values)
        return values

    def nested(end: Any) -> list[Any]:
        for _ in range(100_000):
            end = [end]
        return end

    def doubled(end: Any) -> list[Any]:
        for _ in range(200):
            end = [end, end]
        return end

    for build in (ring, nested, doubled):
        assert same(build(1), build(1))
        assert not same(build(1), build(2))
    deep: frozenset[Any] = frozenset()
    for _ in range(100):
        deep = frozenset([deep, 0.3])
    assert same(deep, frozenset([*deep]))


@given(votes_of_any_kind, st.randoms(use_true_random=False))
def test_the_order_of_members_changes_nothing(votes: list[Any], rnd: random.Random) -> None:
    order = list(range(len(votes)))
    rnd.shuffle(order)
    shuffled = [votes[place] for place in order]
    assert as_sets(groups(shuffled), order) == as_sets(groups(votes), list(range(len(votes))))
    assert agreement(shuffled) == agreement(votes)
    for measure in MEASURES:
        assert disagreement(shuffled, measure) == pytest.approx(disagreement(votes, measure), abs=1e-12)


@given(numbers | labels | votes_of_any_kind)
def test_the_quick_ways_find_the_groups_that_comparing_all_pairs_finds(votes: list[Any]) -> None:
    assert groups(votes) == groups(votes, equal=same)
    assert groups(pd.Series(votes, dtype=object)) == groups(votes)


@given(numbers | labels | votes_of_any_kind)
def test_each_vote_is_in_one_group_and_groups_stand_in_order_of_appearance(votes: list[Any]) -> None:
    found = groups(votes)
    assert sorted(place for group in found for place in group) == list(range(len(votes)))
    assert found == sorted(map(sorted, found))


@given(labels, st.integers(2, 5))
def test_what_becomes_of_each_measure_where_every_vote_is_given_several_times(votes: list[int], times: int) -> None:
    n, more = len(votes), len(votes) * times
    shares = [votes.count(label) / n for label in set(votes)]

    def ratio(measure: str) -> tuple[float, float]:
        return disagreement(votes, measure), disagreement(votes * times, measure)

    once, often = ratio("non_unanimous")
    assert once == often
    once, often = ratio("pairwise")
    # What two votes drawn with replacement differ by (Gini and Simpson): the limit for ever more copies.
    assert once * (n - 1) / n == pytest.approx(1 - sum(share**2 for share in shares))
    assert often * (more - 1) / more == pytest.approx(once * (n - 1) / n)
    once, often = ratio("entropy")
    assert once * math.log(n) == pytest.approx(-sum(share * math.log(share) for share in shares), abs=1e-12)
    assert often * math.log(more) == pytest.approx(once * math.log(n), abs=1e-12)
    once, often = ratio("distinct")
    assert often * (more - 1) == pytest.approx(once * (n - 1))


@given(labels)
def test_measures_lie_between_0_and_1_and_are_0_only_for_unanimous_votes(votes: list[int]) -> None:
    for measure in MEASURES:
        assert 0 <= disagreement(votes, measure) <= 1
        assert (disagreement(votes, measure) == 0) == (len(set(votes)) == 1)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_equal_votes_measure_0_and_different_ones_1(measure: str, n: int) -> None:
    assert disagreement([math.pi] * n, measure) == 0
    assert disagreement(list(range(n)), measure) == (1 if n > 1 else 0)


def test_the_measures_of_two_against_one() -> None:
    assert disagreement(["a", "b", "a"]) == 1 / 2
    found = [disagreement(["a", "b", "a"], measure) for measure in MEASURES]
    assert found == pytest.approx([1, 2 / 3, (math.log(3) - 2 / 3 * math.log(2)) / math.log(3), 1 / 2])


def test_ties_are_the_size_of_each_of_the_largest_groups() -> None:
    assert agreement([1, 2]) == (1, 2)
    assert agreement([1, 1, 2, 2, 3]) == (2, 5)
    assert agreement([1, 1, 1]) == (3, 3)


def test_votes_linked_by_a_chain_are_one_group_though_its_ends_differ() -> None:
    chain = [0.3 + step * 2e-10 for step in range(4)]
    assert not same(chain[0], chain[-1])
    assert groups([chain[3], chain[0], 5.0, chain[2], chain[1]]) == [[0, 1, 3, 4], [2]]
    assert groups([chain[0], chain[3]]) == [[0], [1]]
    assert groups([10**15, 10**15 + 1, 1e15]) == [[0, 1, 2]]


def test_the_users_equality_is_asked_both_ways_round_and_need_not_answer_with_a_bool() -> None:
    assert groups(["Cat", "dog", "cat"], equal=lambda a, b: a.lower() == b.lower()) == [[0, 2], [1]]
    for votes in ([1, 2], [2, 1]):
        assert agreement(votes, equal=lambda a, b: a < b) == (2, 2)
    assert disagreement([1, 2, 9], "pairwise", equal=lambda a, b: np.abs(a - b) < 2) == pytest.approx(2 / 3)


def test_votes_in_a_series_are_taken_by_place() -> None:
    assert groups(pd.Series([0.5, 1.5, 0.5], index=[7, 8, 9])) == [[0, 2], [1]]
    assert groups(np.array([4, 5, 4])) == [[0, 2], [1]]


def test_no_votes_and_an_unknown_measure_are_refused() -> None:
    assert groups([]) == []
    for ask in (disagreement, agreement, *(lambda votes, of=of: of(votes) for of in MEASURES.values())):
        with pytest.raises(CausalkitError, match="no votes"):
            ask([])
    with pytest.raises(
        CausalkitError, match=r"'gini'; choose one of non_unanimous, pairwise, entropy, distinct"
    ) as error:
        disagreement([1], "gini")
    assert error.value.measures == tuple(MEASURES)
