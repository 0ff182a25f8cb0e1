from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from causalkit.errors import CausalkitError, RecordingNotFoundError
from causalkit.examples.recordings import data_folder, load_recording
from causalkit.examples.search_qa import KNOBS
from causalkit.workflows.traces import Traces

FOLDER = Path(__file__).parents[2] / "data" / "search_qa"


@pytest.fixture(scope="module")
def runs() -> Traces:
    return load_recording()


@pytest.mark.parametrize("part", ["runs", "slow_check"])
def test_a_missing_recording_is_an_error_that_says_where_to_get_it(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALKIT_DATA", str(tmp_path))
    with pytest.raises(RecordingNotFoundError) as caught:
        load_recording("search_qa", part)
    told = str(caught.value)
    assert told.startswith(f"there is no recording {tmp_path / 'search_qa' / part}.jsonl; ")
    assert "python -m causalkit record search_qa --output" in told
    assert "\n" not in told
    assert isinstance(caught.value, CausalkitError)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.path == str(tmp_path / "search_qa" / f"{part}.jsonl")


def test_the_data_folder_is_the_source_trees_unless_the_environment_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAUSALKIT_DATA", raising=False)
    assert data_folder() / "search_qa" == FOLDER
    monkeypatch.setenv("CAUSALKIT_DATA", str(tmp_path))
    assert data_folder() == tmp_path


def test_the_recording_is_whole_and_large_enough(runs: Traces) -> None:
    assert len(runs) >= 2500
    assert runs.damage == ()
    assert not any(run.crashed for run in runs)
    assert {run.workflow_name for run in runs} == {"search_qa", "lesson_pack"}


def test_three_kinds_of_failure_happened(runs: Traces) -> None:
    kinds = set(runs.find_failed_steps()["error_type"])
    assert kinds == {"EmptyQuestionError", "NoDocumentError", "TimeLimitError"}


def test_every_value_of_every_knob_was_tried(runs: Traces) -> None:
    table = runs.to_trace_table()
    assert {name: tuple(sorted(table[name].unique())) for name in KNOBS} == KNOBS


def test_the_knobs_were_turned_independently(runs: Traces) -> None:
    correlation = runs.to_trace_table()[list(KNOBS)].astype(float).corr()
    for one, other in combinations(KNOBS, 2):
        assert abs(correlation.loc[one, other]) < 0.08, (one, other)


def test_the_total_of_every_run_is_the_sum_of_its_parts(runs: Traces) -> None:
    table = runs.to_trace_table()
    parts = [name for name in table if name.endswith("_self_ms") or name == "unaccounted_ms"]
    assert (table[parts].sum(axis="columns") - table["total_latency_ms"]).abs().max() < 1e-6
    assert (table[parts].min() > -0.1).all()


def test_the_slowed_step_and_no_other_is_slower_in_the_slow_release(runs: Traces) -> None:
    medians = [
        part.filter_by_success().filter_by_workflow("search_qa").to_trace_table().median(numeric_only=True)
        for part in (runs, load_recording(part="slow_check"))
    ]
    ratio = medians[1] / medians[0]
    assert ratio["check_answer_self_ms"] > 1.5
    others = ["parse_question_self_ms", "web_search_self_ms", "rerank_self_ms", "compose_answer_self_ms"]
    assert ratio[others].between(0.7, 1.4).all()


def test_the_counts_in_recording_json_are_those_of_the_files(runs: Traces) -> None:
    about = msgspec.json.decode((FOLDER / "recording.json").read_bytes())
    for part, traces in (("runs", runs), ("slow_check", load_recording(part="slow_check"))):
        assert about["runs"][part] == {"total": len(traces), "failed": sum(not run.success for run in traces)}
    assert re.fullmatch("[0-9a-f]{64}", about["corpus_sha256"])
    assert about["packages"]["causalkit"]


@pytest.mark.parametrize("name", ["runs.jsonl", "slow_check.jsonl", "recording.json"])
def test_no_path_of_the_recording_machine_is_in_the_files(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|work|tmp|usr|var|opt)/|[A-Z]:\\\\|site-packages", text)
