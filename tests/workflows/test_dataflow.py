from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from causalkit.workflows.dataflow import Influence, knob_influences
from causalkit.workflows.executor import READS, WRITES
from causalkit.workflows.records import StepTrace, WorkflowTrace

Path = list[tuple[str, list[str], list[str]]]
keys = st.sampled_from(["k", "j", "a", "b", "c"])


def run(*steps: tuple[str, list[str] | None, list[str]]) -> WorkflowTrace:
    return WorkflowTrace(
        request_id="r",
        success=True,
        steps=tuple(
            StepTrace(
                step_id=name,
                step_name=name,
                start=datetime.now(UTC),
                latency_ms=1.0,
                success=True,
                attributes={} if reads is None else {READS: reads, WRITES: writes},
            )
            for name, reads, writes in steps
        ),
    )


def kinds(influences: Mapping[str, Mapping[str, Influence]]) -> dict[tuple[str, str], str]:
    return {(knob, step): how.kind for step, by_knob in influences.items() for knob, how in by_knob.items()}


def test_a_knob_reaches_who_read_it_and_who_read_what_they_wrote() -> None:
    found = knob_influences([run(("a", ["k"], ["x"]), ("b", ["x"], ["y"]), ("c", ["y"], []), ("d", ["z"], []))], ["k"])
    assert kinds(found) == {("k", "a"): "direct", ("k", "b"): "dataflow", ("k", "c"): "dataflow"}
    assert found["a"]["k"].why == "the step read 'k'"
    assert found["c"]["k"].why == "read 'y', written by 'b'"


def test_a_key_read_before_it_was_written_carries_nothing() -> None:
    assert kinds(knob_influences([run(("b", ["x"], []), ("a", ["k"], ["x"]))], ["k"])) == {("k", "a"): "direct"}


def test_a_key_written_anew_forgets_what_was_behind_it() -> None:
    steps = run(("a", ["k"], ["x"]), ("b", [], ["x"]), ("c", ["x"], []))
    assert kinds(knob_influences([steps], ["k"])) == {("k", "a"): "direct"}


def test_a_key_changed_by_who_read_it_keeps_what_was_behind_it() -> None:
    steps = run(("a", ["k"], ["x"]), ("b", ["x", "j"], ["x"]), ("c", ["x"], []))
    assert kinds(knob_influences([steps], ["k", "j"])) == {
        ("k", "a"): "direct",
        ("k", "b"): "dataflow",
        ("j", "b"): "direct",
        ("k", "c"): "dataflow",
        ("j", "c"): "dataflow",
    }


def test_a_knob_that_a_step_overwrote_is_that_steps_value_from_there_on() -> None:
    steps = run(("a", ["j"], ["k"]), ("b", ["k"], []))
    assert kinds(knob_influences([steps], ["k", "j"])) == {("j", "a"): "direct", ("j", "b"): "dataflow"}


def test_a_step_without_a_record_of_its_reads_may_depend_on_every_knob() -> None:
    found = knob_influences([run(("a", None, []), ("b", ["k"], []))], ["k", "j"])
    assert kinds(found) == {("k", "a"): "unrecorded", ("j", "a"): "unrecorded", ("k", "b"): "direct"}


def test_one_run_is_enough_to_prove_an_influence_and_the_direct_one_is_named() -> None:
    through = run(("a", ["k"], ["x"]), ("b", ["x"], []))
    straight = run(("a", [], ["x"]), ("b", ["k"], []))
    for runs in ([through, straight], [straight, through]):
        assert kinds(knob_influences(runs, ["k"])) == {("k", "a"): "direct", ("k", "b"): "direct"}


def test_without_knobs_there_is_no_influence() -> None:
    assert kinds(knob_influences([run(("a", ["x"], []), ("b", None, []))], [])) == {}


@given(path=st.lists(st.tuples(st.lists(keys, max_size=3), st.lists(keys, max_size=2)), max_size=6))
def test_what_is_left_out_could_not_have_arrived(path: list[tuple[list[str], list[str]]]) -> None:
    steps = [(f"s{number}", reads, writes) for number, (reads, writes) in enumerate(path)]
    found = knob_influences([run(*steps)], ["k"])
    assert {step for step, by_knob in found.items() if by_knob} == _marked(steps)


def _marked(steps: list[tuple[str, list[str], list[str]]]) -> set[str]:
    """Return which steps a mark on the knob's value would reach, were the state run for real."""
    state: dict[str, Any] = {"k": True}
    reached = set()
    for name, reads, writes in steps:
        mark = any(state.get(key) for key in reads)
        state |= dict.fromkeys(writes, mark)
        reached |= {name} if mark else set()
    return reached
