"""Spans of any tool become runs and steps, whatever their order and their roots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows import journal_tables
from causalkit.workflows.readers.spans import Span, gathered
from causalkit.workflows.traces import DamagedJournalWarning, Traces

MS = 1_000_000


def span(span_id: str, parent: str | None = None, start: int = 1, end: int | None = 2, **told: object) -> Span:
    times = {"start_ns": start * MS, "end_ns": None if end is None else end * MS}
    fields = {"trace_id": "t", "span_id": span_id, "parent_id": parent, "name": span_id, **times, **told}
    return Span(**fields)  # type: ignore[arg-type]


def read(*spans: Span) -> Traces:
    return gathered(spans, source="spans")


def shape(traces: Traces) -> dict[str, list[str]]:
    return {run.request_id: [step.step_id for step in run.steps] for run in traces}


def test_spans_in_any_order_are_a_run_with_its_steps() -> None:
    traces = read(span("c", "b", 2, 3), span("b", "a", 1, 4), span("a", None, 0, 9))

    assert shape(traces) == {"t": ["b", "c"]}
    assert [step.parent_id for step in traces[0].steps] == ["a", "b"]
    assert traces[0].total_latency_ms == 9.0


def test_several_roots_are_several_runs_with_what_is_below_each() -> None:
    traces = read(span("a"), span("x", "b"), span("b"), span("y", "x"), span("z", "a"), span("lost", "nowhere"))

    assert shape(traces) == {"t:a": ["z"], "t:b": ["x", "y"], "t": ["lost"]}
    assert [run.crashed for run in traces if run.request_id == "t"] == [True]


def test_the_only_span_whose_parent_is_elsewhere_is_the_run_if_it_covers_the_others() -> None:
    traces = read(span("b", "a", 2, 3), span("a", "remote", 1, 4))

    assert shape(traces) == {"t": ["b"]}
    assert traces[0].attributes["causalkit.parent_id"] == "remote"
    assert not traces[0].crashed


@pytest.mark.parametrize(
    "spans",
    [
        (span("a", "remote", 1, 4), span("b", "a", 2, 5)),
        (span("a", "remote", 1, 9), span("b", "other", 2, 5)),
        (span("a", "b"), span("b", "a")),
        (span("a", "a"),),
    ],
    ids=["one ends later", "two parents elsewhere", "a cycle", "its own parent"],
)
def test_without_a_root_the_steps_are_those_of_a_crashed_run(spans: tuple[Span, ...]) -> None:
    traces = read(*spans)

    assert shape(traces) == {"t": [one.span_id for one in spans]}
    assert traces[0].crashed


def test_a_span_that_is_there_twice_is_shown_as_it_was_the_last_time() -> None:
    traces = read(span("a"), span("b", "a"), span("b", "a", name="again"))

    assert [step.step_name for step in traces[0].steps] == ["again"]
    assert traces.caveats == ("1 spans have the ids of another: of these the last is shown",)


def test_a_failed_step_under_a_root_that_did_not_fail_leaves_the_run_good() -> None:
    traces = read(span("a"), span("b", "a", ok=False, error={"message": "no"}))

    assert traces[0].success
    assert len(traces.find_failed_steps()) == 1


def test_what_did_not_end_or_has_no_start_or_ends_before_it_says_so() -> None:
    traces = read(
        span("a", end=None), span("b", "a", end=None), span("c", "a", 5, 4), span("d", "a", start_ns=None, end_ns=7)
    )

    (run,) = traces
    steps = {step.step_id: step for step in run.steps}
    assert (run.crashed, run.success, run.total_latency_ms) == (True, False, None)
    assert (steps["b"].success, steps["b"].latency_ms) == (False, 0.0)
    assert (steps["c"].latency_ms, steps["c"].attributes["causalkit.end_ns"]) == (0.0, 4 * MS)
    assert (steps["d"].start.year, steps["d"].attributes["causalkit.end_ns"]) == (1970, 7)
    assert all(steps[name].notes for name in "bcd")


def test_a_run_has_its_texts_knobs_and_names_from_the_vocabulary() -> None:
    told = {"input.value": "why?", "output.value": {"a": 1}, "session.id": "s", "causalkit.knob.depth": 3}
    told |= {"gen_ai.workflow.name": "qa"}

    (run,) = read(span("a", attributes=told, run={"mode": "chat", "attributes": {"release": "2"}}))

    assert (run.workflow_name, run.question, run.final_answer, run.conversation_id) == ("qa", "why?", '{"a":1}', "s")
    assert (run.mode, run.attributes["knobs"], run.attributes["release"]) == ("chat", {"depth": 3}, "2")
    assert run.attributes["causalkit.name"] == "a"


def test_large_files_are_not_held_in_memory_and_answer_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = [span("a"), span("b", "a", ok=False), span("c", "b", attributes={"n": 1.5})]
    held = list(read(*spans))

    monkeypatch.setattr(journal_tables, "_SMALL_BYTES", 0)

    traces = read(*spans)
    assert list(traces) == held
    assert len(traces.filter_by_success()) == 1


def test_damage_that_a_reader_finds_on_its_way_is_told() -> None:
    damage: list[Damage] = []

    def found() -> Iterator[Span]:
        yield span("a")
        damage.append(Damage("file", 3, 9, "no span"))

    with pytest.warns(DamagedJournalWarning, match="bytes 3 to 9: no span"):
        assert gathered(found(), source="file", damage=damage).damage == tuple(damage)


def test_nothing_is_refused_and_so_is_a_redaction_that_fails() -> None:
    with pytest.raises(TraceFormatError, match="nothing holds no span"):
        gathered([], source="nothing")
    with pytest.raises(KeyError):
        gathered([span("a")], source="one", redact=lambda record: record["absent"])
