from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from causalkit.journal_reading import read_journal
from causalkit.workflows.costs import CostStatsManager
from causalkit.workflows.quality import QualitySignalWarning, quality_signal
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.tracer import Tracer


@pytest.fixture
def broken_signal() -> Iterator[str]:
    @quality_signal(name="broken")
    def broken(trace: WorkflowTrace, state: Mapping[str, Any]) -> float:
        return 1 / 0

    yield "broken"
    quality_signal.unregister("broken")


def no_disk(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every write of the tracer fail from here on."""

    def fail(line: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(tracer.log._journal, "write", fail)


def break_off(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracer.workflow("answer") as run, run.step("search"):
        no_disk(tracer, monkeypatch)
        raise KeyError("mine")


def test_a_record_that_cannot_be_written_is_raised_where_the_step_ends_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with tracer.workflow("answer") as run:
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"), run.step("search"):
            no_disk(tracer, patch)
        with run.step("after") as step:
            pass
    assert step.parent_id is None
    written = [(record["kind"], record.get("step_name")) for record in read_journal(tmp_path / "runs.jsonl")[0]]
    assert written == [("start", None), ("step", "after"), ("run", None)]


def test_a_run_that_cannot_be_written_has_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"), tracer.workflow("answer"):
        no_disk(tracer, patch)
    with tracer.workflow("next") as run:
        pass
    assert run.outer is None
    assert run.attributes["concurrent_runs"] == 1


def test_a_run_whose_beginning_cannot_be_written_has_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer, other = Tracer(tmp_path / "runs.jsonl"), Tracer()
    no_disk(tracer, monkeypatch)
    with pytest.raises(OSError, match="no space left"), tracer.workflow("answer"):
        pass
    with other.workflow("next"), tracer.step("outside"):
        pass
    assert other.runs[0].attributes["concurrent_runs"] == 1


def test_a_write_error_never_hides_what_the_workflow_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with pytest.raises(KeyError) as caught:
        break_off(tracer, monkeypatch)
    assert caught.value.__notes__ == ["and its trace was not recorded whole: OSError: no space left"] * 2


def test_a_handler_gets_the_error_and_the_record_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    tracer = Tracer(tmp_path / "runs.jsonl", on_error=lambda error, record: seen.append((str(error), record["kind"])))
    no_disk(tracer, monkeypatch)
    with tracer.workflow("answer") as run, run.step("search"):
        pass
    assert seen == [("no space left", kind) for kind in ("start", "step", "run")]


def test_a_handler_that_fails_does_not_hide_what_the_step_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception, record: dict[str, Any]) -> None:
        raise RuntimeError("the handler is broken")

    tracer = Tracer(tmp_path / "runs.jsonl", on_error=fail)
    with pytest.raises(KeyError) as caught:
        break_off(tracer, monkeypatch)
    assert "the handler is broken" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="the handler is broken"), tracer.workflow("answer"):
        pass


def test_a_redaction_that_fails_loses_no_record_and_writes_nothing_unmasked(tmp_path: Path) -> None:
    def redact(record: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("no rules")

    seen: list[Exception] = []
    path = tmp_path / "runs.jsonl"
    tracer = Tracer(path, redact=redact, on_error=lambda error, record: seen.append(error))
    with tracer.workflow("answer", request_id="r1", question="a secret"):
        pass
    assert [type(error) for error in seen] == [LookupError, LookupError]
    assert "a secret" not in path.read_text()
    assert [record["request_id"] for record in read_journal(path)[0]] == ["r1", "r1"]


def test_every_run_that_ends_has_its_quality_signals_and_is_counted(tmp_path: Path) -> None:
    costs = CostStatsManager()
    with Tracer(tmp_path / "runs.jsonl", cost_stats=costs, keep_runs=True) as tracer:
        with tracer.workflow("answer") as run, run.step("web_search"):
            run.state = {"final_answer": "four"}
            run.quality_signals = {"mine": 1}
        with pytest.raises(KeyError), tracer.workflow("answer"):
            raise KeyError
    good, bad = tracer.runs
    expected = {"answer_length": 4, "has_search": True, "failure_occurred": False, "mine": 1}
    assert expected.items() <= good.quality_signals.items()
    assert bad.quality_signals["failure_occurred"]
    assert read_journal(tmp_path / "runs.jsonl")[0][2]["quality_signals"] == good.quality_signals
    assert (costs.get("answer").execution_count, costs.get("answer").success_rate) == (2, 0.5)


def test_a_signal_that_fails_is_null_with_a_note_and_a_warning(broken_signal: str) -> None:
    tracer = Tracer()
    with pytest.warns(QualitySignalWarning, match="'broken' has no value"), tracer.workflow("answer"):
        pass
    assert tracer.runs[0].quality_signals["broken"] is None
    assert "division by zero" in tracer.runs[0].attributes["causalkit.signal_errors"]["broken"]


def test_a_signal_that_fails_goes_to_the_handler_after_the_run_is_written(broken_signal: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    written: list[str] = []
    tracer = Tracer(path, on_error=lambda error, record: written.append(read_journal(path)[0][-1]["kind"]))
    with tracer.workflow("answer"):
        pass
    assert written == ["run"]


def test_a_signal_that_fails_does_not_hide_what_the_workflow_raised(broken_signal: str) -> None:
    tracer = Tracer()
    with pytest.raises(KeyError) as caught, tracer.workflow("answer"):
        raise KeyError("mine")
    assert "'broken' has no value" in caught.value.__notes__[0]
    assert len(tracer.runs) == 1


def test_statistics_that_fail_do_not_lose_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = CostStatsManager()
    monkeypatch.setattr(costs, "update", lambda trace: 1 / 0)
    path = tmp_path / "runs.jsonl"
    with Tracer(path, cost_stats=costs) as tracer, pytest.raises(ZeroDivisionError), tracer.workflow("answer"):
        pass
    assert read_journal(path)[0][-1]["kind"] == "run"
