from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.compact import compact
from causalkit.workflows.parquet import read_parquet, write_parquet
from causalkit.workflows.traces import DamagedJournalWarning, Traces, load_traces
from tests.workflows.journals import encoded, lines_of, run_record, some_runs, write
from tests.workflows.test_journal_tables import QUESTIONS

RUNS = some_runs(30, seed=5)


@pytest.fixture
def traces() -> Traces:
    return load_traces(RUNS)


def test_what_is_read_back_is_equal_run_by_run_and_answers_alike(traces: Traces, tmp_path: Path) -> None:
    back = read_parquet(write_parquet(traces, tmp_path / "it's [all].parquet"))
    assert list(back) == list(traces)
    assert repr(back) == repr(traces)
    for ask in QUESTIONS:
        pd.testing.assert_frame_equal(ask(back), ask(traces))


def test_there_is_one_row_per_span_and_what_has_parts_is_json(traces: Traces, tmp_path: Path) -> None:
    rows = pd.read_parquet(write_parquet(traces, tmp_path / "runs.parquet"))
    assert rows["kind"].value_counts().to_dict() == {"step": sum(len(run.steps) for run in RUNS), "run": len(RUNS)}
    assert rows["attributes"].dropna().map(lambda text: text.startswith("{")).all()
    assert [file.name for file in tmp_path.iterdir()] == ["runs.parquet"]


def test_a_filter_writes_what_it_left_and_what_it_left_out_is_still_told(traces: Traces, tmp_path: Path) -> None:
    good = traces.filter_by_success()
    back = read_parquet(write_parquet(good, tmp_path / "good.parquet"))
    assert list(back) == list(good)
    assert back.caveats == good.caveats != ()


def test_no_run_at_all_is_written_and_read(traces: Traces, tmp_path: Path) -> None:
    none = traces.filter_by_workflow("no such")
    assert list(read_parquet(write_parquet(none, tmp_path / "none.parquet"))) == []


def test_damage_is_kept(tmp_path: Path) -> None:
    journal = write(tmp_path / "runs.jsonl", *(record for run in RUNS for record in lines_of(run)))
    journal.write_bytes(journal.read_bytes() + b'{"kind":\n' + encoded(run_record(RUNS[0], success=False)))
    with pytest.warns(DamagedJournalWarning):
        traces = load_traces(journal)
    back = read_parquet(write_parquet(traces, tmp_path / "runs.parquet"))
    assert back.damage == traces.damage != ()
    assert list(back) == list(traces)


def test_runs_of_two_tables_with_few_columns_are_written_too(traces: Traces, tmp_path: Path) -> None:
    few = load_traces(traces.runs().drop("position", "extra"), traces.steps().drop("position", "notes"))
    back = read_parquet(write_parquet(few, tmp_path / "two.parquet"))
    assert {run.request_id: run for run in back} == {run.request_id: run for run in few}


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pd.DataFrame({"kind": ["run"]}).to_parquet(other)
    text = tmp_path / "text.parquet"
    text.write_text("PAR1 no")
    journal = write(tmp_path / "qa.jsonl", run_record(RUNS[0]))
    for path in (other, text, compact(journal)[0], tmp_path / "absent.parquet", tmp_path):
        with pytest.raises(TraceFormatError) as refused:
            read_parquet(path)
        assert refused.value.path == str(path)
