from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.critical_path import held_up, own_times

Spans = dict[str | None, tuple[float, float]]
Inside = dict[str | None, list[str]]


@st.composite
def forests(draw: st.DrawFn) -> tuple[Spans, Inside]:
    """Draw spans in whole milliseconds, each in an earlier one or in the run, not always within its time."""
    spans: Spans = {None: (0, draw(st.integers(0, 30)))}
    inside: Inside = {}
    for number, (begin, length) in enumerate(
        draw(st.lists(st.tuples(st.integers(-5, 30), st.integers(0, 20)), max_size=7))
    ):
        parent = draw(st.sampled_from(list(spans)))
        spans[str(number)] = (begin, begin + length)
        inside.setdefault(parent, []).append(str(number))
    return spans, inside


@st.composite
def in_turn(draw: st.DrawFn) -> tuple[Spans, Inside]:
    """Draw a run of spans that ran one after the other, every second one with a child within its time."""
    clock, spans, inside = 0, {}, {None: []}
    for number, (gap, length) in enumerate(draw(st.lists(st.tuples(st.integers(0, 9), st.integers(2, 9)), max_size=6))):
        clock += gap
        spans[f"{number}"] = (clock, clock + length)
        inside[None].append(f"{number}")
        if number % 2:
            spans[f"{number}.1"] = (clock + 1, clock + length)
            inside[f"{number}"] = [f"{number}.1"]
        clock += length
    return {None: (0, clock + 3), **spans}, inside


def moments(span: tuple[float, float]) -> set[int]:
    return set(range(int(span[0]), int(span[1])))


@given(forests())
def test_what_held_the_run_up_adds_up_to_its_length(forest: tuple[Spans, Inside]) -> None:
    spans, inside = forest
    held = held_up(spans, inside)
    assert math.fsum(held.values()) == spans[None][1]
    assert all(0 < time <= spans[span][1] - spans[span][0] for span, time in held.items())


@given(forests())
def test_an_own_time_is_every_moment_in_which_no_child_ran(forest: tuple[Spans, Inside]) -> None:
    spans, inside = forest
    own = own_times(spans, inside)
    assert own == {
        span: len(moments(bounds).difference(*(moments(spans[child]) for child in inside.get(span, ()))))
        for span, bounds in spans.items()
    }
    assert all(0 <= own[span] <= end - begin for span, (begin, end) in spans.items())


@given(in_turn())
def test_where_spans_ran_in_turn_own_times_add_up_and_are_what_held_the_run_up(run: tuple[Spans, Inside]) -> None:
    spans, inside = run
    own = own_times(spans, inside)
    assert sum(own.values()) == spans[None][1]
    assert held_up(spans, inside) == {span: time for span, time in own.items() if time}


def test_of_parallel_members_the_slowest_and_in_it_its_slowest_part_were_waited_for() -> None:
    spans: Spans = {None: (0, 10), "panel": (1, 9), "a": (1, 4), "b": (1, 8), "b.load": (1, 3), "b.ask": (2, 7)}
    inside: Inside = {None: ["panel"], "panel": ["a", "b"], "b": ["b.load", "b.ask"]}
    assert held_up(spans, inside) == {None: 2, "panel": 1, "b": 1, "b.ask": 5, "b.load": 1}
    assert own_times(spans, inside) == {None: 2, "panel": 1, "a": 3, "b": 1, "b.load": 2, "b.ask": 5}


def test_a_child_that_outlives_its_parent_covers_only_what_the_parent_ran() -> None:
    spans: Spans = {"request": (0, 5), "background": (3, 60), "earlier": (-4, 1)}
    assert own_times(spans, {"request": ["background", "earlier"]})["request"] == 2


def test_a_run_without_spans_held_itself_up() -> None:
    assert held_up({None: (0, 4)}, {}) == {None: 4}
    assert held_up({None: (0, 0)}, {}) == {}


def test_thousands_of_levels_do_not_exhaust_the_stack() -> None:
    depth = 20_000
    spans: Spans = {None: (0, 2 * depth), **{str(level): (level, 2 * depth - level) for level in range(1, depth)}}
    inside: Inside = {None: ["1"], **{str(level): [str(level + 1)] for level in range(1, depth - 1)}}
    assert sum(held_up(spans, inside).values()) == pytest.approx(2 * depth)
    assert own_times(spans, inside)["7"] == 2
