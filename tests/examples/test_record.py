from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from causalkit.errors import CausalkitError
from causalkit.examples import record
from causalkit.examples.corpus import read_corpus
from causalkit.examples.record import record_search_qa
from causalkit.examples.search_qa import KNOBS
from causalkit.workflows.traces import Traces, load_traces

FILES = ["recording.json", "runs.jsonl", "slow_check.jsonl"]


@pytest.fixture(scope="module")
def small_corpus() -> Any:
    """Let recordings of this module search some documents of networkx only."""
    documents = read_corpus(["networkx"])[:400]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "read_corpus", lambda: documents)
        # A quarter of the runs fail, so that a short recording holds failures.
        patch.setattr(record, "_FAILING_SHARE", 0.25)
        # Latencies are not looked at here.
        patch.setattr(record, "warm", lambda *_: None)
        yield documents


@pytest.fixture(scope="module")
def recorded(small_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recording") / "search_qa"
    return folder, record_search_qa(folder, num_runs=24, random_seed=3, progress=False)


def read(folder: Path) -> Traces:
    return load_traces([folder / "runs.jsonl", folder / "slow_check.jsonl"])


def asked(folder: Path) -> list[tuple[Any, ...]]:
    """Return what the seed decides about each run."""
    return sorted(
        (run.request_id, run.question, run.mode, run.workflow_name, tuple(run.attributes["knobs"].items()))
        for run in read(folder)
    )


def test_a_recording_is_two_journals_and_a_page_about_them(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, about = recorded
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert msgspec.json.decode((folder / "recording.json").read_bytes()) == about
    assert sum(part["total"] for part in about["runs"].values()) == len(read(folder)) == 24
    assert about["random_seed"] == 3
    assert about["corpus_documents"] == 400


def test_every_run_stands_on_one_line_with_its_steps_inside(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, about = recorded
    assert len((folder / "runs.jsonl").read_bytes().splitlines()) == about["runs"]["runs"]["total"]
    traces = read(folder)
    assert traces.damage == ()
    assert all(run.steps and run.total_latency_ms for run in traces)


def test_knobs_are_drawn_from_their_values(recorded: tuple[Path, dict[str, Any]]) -> None:
    for run in read(recorded[0]):
        assert run.attributes["knobs"].keys() == KNOBS.keys()
        assert all(value in KNOBS[name] for name, value in run.attributes["knobs"].items())


def test_failures_are_recorded_with_the_step_that_failed(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, about = recorded
    failed = read(folder).find_failed_steps()
    assert len(failed) == sum(part["failed"] for part in about["runs"].values()) > 0
    assert set(failed["error_type"]) <= {"EmptyQuestionError", "NoDocumentError", "TimeLimitError"}


def test_the_same_seed_asks_the_same_and_replaces_what_was_there(
    recorded: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "runs.jsonl").write_text("old")
    record_search_qa(tmp_path, num_runs=24, random_seed=3, progress=False)
    assert asked(tmp_path) == asked(recorded[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_one_run_is_a_recording_and_another_seed_asks_something_else(
    recorded: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    about = record_search_qa(tmp_path, num_runs=1, random_seed=4, progress=False)
    assert sorted(part["total"] for part in about["runs"].values()) == [0, 1]
    assert asked(tmp_path)[0] not in asked(recorded[0])


def test_a_recording_that_breaks_off_leaves_the_old_one_as_it_was(
    small_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FILES:
        (tmp_path / name).write_text(f"old {name}")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "route", interrupt)
    with pytest.raises(KeyboardInterrupt):
        record_search_qa(tmp_path, num_runs=3, progress=False)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: f"old {name}" for name in FILES}


@pytest.mark.parametrize("num_runs", [0, -5])
def test_no_runs_are_no_recording(num_runs: int, tmp_path: Path) -> None:
    with pytest.raises(CausalkitError, match=f"num_runs is {num_runs}; record at least one") as caught:
        record_search_qa(tmp_path / "new", num_runs=num_runs)
    assert caught.value.num_runs == num_runs
    assert not (tmp_path / "new").exists()
