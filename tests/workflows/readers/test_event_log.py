"""Event logs of process mining become runs and steps."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.event_log import read_event_log
from causalkit.workflows.traces import DamagedJournalWarning, Traces

# As the example that comes with many tools of process mining has them: separated by semicolons, one time an event.
LOG = """case_id;activity;timestamp;costs;resource
3;register request;2010-12-30 14:32:00+01:00;50;Pete
3;examine casually;2010-12-30 15:06:00+01:00;400;Mike
2;register request;2010-12-30 11:32:00+01:00;50;Mike
3;check ticket;2010-12-30 16:34:00+01:00;100;Ellen
2;check ticket;2010-12-30 12:12:00+01:00;100;Mike
"""


def test_each_case_is_a_run_and_each_event_a_step(tmp_path: Path) -> None:
    traces = read_event_log(_file(tmp_path, LOG))

    cases = Counter(line.partition(";")[0] for line in LOG.splitlines()[1:])
    assert {run.request_id: len(run.steps) for run in traces} == cases
    assert {run.workflow_name for run in traces} == {"log"}
    assert all(run.success for run in traces)
    run = next(run for run in traces if run.request_id == "3")
    assert [step.step_name for step in run.steps] == ["register request", "examine casually", "check ticket"]
    assert run.steps[1].attributes["costs"] == "400"
    assert (run.timestamp, run.total_latency_ms) == (pd.Timestamp("2010-12-30 13:32Z"), 122 * 60_000)


def test_where_one_time_is_known_a_step_lasts_since_the_event_before_it_and_it_is_said(tmp_path: Path) -> None:
    traces = read_event_log(_file(tmp_path, LOG))

    run = next(run for run in traces if run.request_id == "3")
    assert [step.latency_ms / 60_000 for step in run.steps] == [0, 34, 88]
    assert [step.attributes["causalkit.since_previous"] for step in run.steps] == [False, True, True]
    assert any(caveat.startswith("of 5 events one time is known") for caveat in traces.caveats)


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("case,activity,time,end_time", {}),
        ("case:concept:name,concept:name,start_timestamp,time:timestamp", {}),
        ("Case ID,Activity,Start Timestamp,Complete Timestamp", {}),
        ("who,what,from,to", {"case": "who", "activity": "what", "time": "from", "end": "to"}),
    ],
)
def test_begin_and_end_are_taken_from_their_columns(tmp_path: Path, header: str, options: dict[str, str]) -> None:
    rows = "a,ask,2026-01-01T00:00:00Z,2026-01-01T00:00:02Z\na,answer,2026-01-01T00:00:01Z,2026-01-01T00:00:05Z\n"

    traces = read_event_log(_file(tmp_path, f"{header}\n{rows}"), **options)

    assert _told(traces) == [("a", 5000.0, [("ask", 2000.0, True), ("answer", 4000.0, True)])]
    assert not traces.caveats


def test_pairs_of_start_and_complete_are_one_step_also_where_they_overlap() -> None:
    log = _frame(
        [
            ("a", "ask", "00:00", "start"),
            ("a", "search", "00:01", "start"),
            ("a", "search", "00:02", "start"),
            ("a", "ask", "00:03", "complete"),
            ("a", "search", "00:04", "complete"),
            ("a", "search", "00:06", "complete"),
            ("a", "note", "00:07", "complete"),
        ],
        "lifecycle:transition",
    )

    traces = read_event_log(log)

    assert _told(traces) == [
        (
            "a",
            7000.0,
            [("ask", 3000.0, True), ("search", 3000.0, True), ("search", 4000.0, True), ("note", 1000.0, True)],
        )
    ]
    assert any(caveat.startswith("of 1 events one time is known") for caveat in traces.caveats)


def test_what_was_aborted_failed_and_what_never_completed_did_not_end() -> None:
    rows = [("a", "ask", "00:00", "start"), ("a", "ask", "00:01", "ate_abort"), ("a", "search", "00:02", "start")]

    (run,) = read_event_log(_frame(rows, "lifecycle:transition"))

    assert [(step.success, step.error, step.notes) for step in run.steps] == [
        (False, {"type": "ate_abort", "message": "", "stack": ""}, []),
        (False, None, ["it did not end"]),
    ]


def test_other_transitions_are_steps_of_their_own_name() -> None:
    rows = [("a", "ask", "00:00", "schedule"), ("a", "ask", "00:01", "start"), ("a", "ask", "00:04", "complete")]

    (run,) = read_event_log(_frame(rows, "lifecycle:transition"))

    assert [(step.step_name, step.latency_ms) for step in run.steps] == [("ask (schedule)", 0.0), ("ask", 3000.0)]


def test_a_log_of_complete_events_only_has_one_time_an_event() -> None:
    rows = [("a", "ask", "00:00", "complete"), ("a", "answer", "00:02", "complete")]

    (run,) = read_event_log(_frame(rows, "lifecycle:transition"))

    assert [step.latency_ms for step in run.steps] == [0.0, 2000.0]


def test_times_of_every_zone_are_one_clock_and_those_without_one_are_utc_and_said(tmp_path: Path) -> None:
    rows = "a,x,2026-01-01T02:00:00+02:00\na,y,2026-01-01 00:00:01\na,z,2025-12-31T19:00:02.000000007-05:00\n"

    traces = read_event_log(_file(tmp_path, f"case,activity,time\n{rows}"))

    (run,) = traces
    assert [step.step_name for step in run.steps] == ["x", "y", "z"]
    assert run.steps[2].attributes["causalkit.start_ns"] + 1_000_000_007 == 1767225602_000000007
    assert "1 times name no time zone and were read as UTC" in traces.caveats


def test_rows_in_any_order_and_of_many_cases_are_sorted_by_case_and_time(tmp_path: Path) -> None:
    rows = [f"{case},e{number},2026-01-01T00:00:{number:02}Z" for case in "ab" for number in range(5)]

    traces = read_event_log(_file(tmp_path, "\n".join(["case,activity,time", *rows[::-2], *rows[::2]])))

    assert {run.request_id: [step.step_name for step in run.steps] for run in traces} == {
        case: [f"e{number}" for number in range(5)] for case in "ab"
    }


def test_a_case_that_goes_on_in_another_file_is_one_run_and_equal_events_both_stay(tmp_path: Path) -> None:
    first = _file(tmp_path, "case,activity,time\na,x,2026-01-01T00:00:00Z\na,x,2026-01-01T00:00:00Z\n")
    second = _file(tmp_path, "case,activity,time\na,y,2026-01-01T00:00:01Z\n", "more.csv")

    (run,) = read_event_log([first, second])

    assert [step.step_name for step in run.steps] == ["x", "x", "y"]


def test_columns_of_the_case_are_the_runs_and_knobs_are_knobs() -> None:
    log = _frame([("a", "x", "00:00", 3), ("a", "y", "00:01", 3)], "causalkit.knob.k")

    (run,) = read_event_log(log.assign(**{"case:amount": 12.5, "org:resource": "Pete"}))

    assert run.attributes["knobs"] == {"k": 3}
    assert run.attributes["case:amount"] == 12.5
    assert {"org:resource"} == {name for name in run.steps[0].attributes if not name.startswith("causalkit.")}


@pytest.mark.parametrize("form", ["csv.gz", "parquet", "frame"])
def test_a_log_says_the_same_in_every_format(tmp_path: Path, form: str) -> None:
    plain = read_event_log(_file(tmp_path, LOG))
    frame = pd.read_csv(tmp_path / "log.csv", sep=";").assign(timestamp=lambda log: pd.to_datetime(log.timestamp))
    source: Any = tmp_path / f"log.{form}" if form != "frame" else frame
    if form == "csv.gz":
        source.write_bytes(gzip.compress(LOG.encode()))
    elif form == "parquet":
        frame.to_parquet(source)

    assert _told(read_event_log(source)) == _told(plain)


def test_bad_rows_are_left_out_with_their_lines(tmp_path: Path) -> None:
    rows = [
        "a,x,2026-01-01T00:00:00Z",
        "a,y,soon",
        ",y,2026-01-01",
        "a,,2026-01-01",
        "a,y,",
        "a",
        'a,"y\nz",2026-01-02',
    ]

    with pytest.warns(DamagedJournalWarning):
        traces = read_event_log(_file(tmp_path, "\n".join(["case,activity,time", *rows])))

    assert [part.reason for part in sorted(traces.damage, key=lambda part: part.start)] == [
        "line 3: 'soon' is no time",
        "line 4: no case",
        "line 5: no activity",
        "line 6: no time",
        "line 7: 1 cells under 3 columns",
    ]
    assert [step.step_name for step in traces[0].steps] == ["x", "y\nz"]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = _file(tmp_path, "id,what,when\n1,x,2026-01-01\n")

    with pytest.raises(
        TraceFormatError, match=r"no column for the case .* and the activity .*'what', 'when'"
    ) as caught:
        read_event_log(path)
    assert caught.value.columns == ["id", "what", "when"]
    for wrong in ({"end": "until"}, {"time": "then"}):
        with pytest.raises(TraceFormatError, match="looked for"):
            read_event_log(path, case="id", activity="what", **{"time": "when", **wrong})


@pytest.mark.parametrize(
    "content", [b"", b'{"resourceSpans": []}', b"\x89PNG\r\n\x1a\n\x00", b"case,activity,time\n", b"a\rb,c", b"PAR1"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)

    with pytest.raises(TraceFormatError, match=r"log\.csv"):
        read_event_log(path)


def test_a_log_without_one_readable_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="line 2: '17' is no time"):
        read_event_log(_file(tmp_path, "case,activity,time\na,x,17\n"))


def _file(folder: Path, text: str, name: str = "log.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def _frame(rows: list[tuple[Any, ...]], last: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["case", "activity", "time", last])
    return frame.assign(time="2026-01-01T00:" + frame.time + "Z")


def _told(traces: Traces) -> list[tuple[Any, ...]]:
    return sorted(
        (run.request_id, run.total_latency_ms, [(s.step_name, s.latency_ms, s.success) for s in run.steps])
        for run in traces
    )
