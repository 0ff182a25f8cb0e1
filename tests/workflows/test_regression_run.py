from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import CausalkitError, WorkerError
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.regression import run_regression
from causalkit.workflows.regression_cases import CaseResult, RegressionCase
from causalkit.workflows.regression_worker import load_workflow
from causalkit.workflows.traces import load_traces
from tests.workflows import regression_workflows as workflows


def cases(*questions: str, **expected: Any) -> list[RegressionCase]:
    return [RegressionCase(id=question, question=question, **expected) for question in questions]


def results(asked: list[RegressionCase], workflow: Any, **options: Any) -> dict[str, CaseResult]:
    report = run_regression(asked, workflow, progress=False, **options)
    return {one.id: one for one in report.results}


def naughty(question: str) -> Any:
    return {
        "hang": lambda: time.sleep(60),
        "exit": lambda: os._exit(3),
        "system exit": lambda: sys.exit(4),
        "interrupt": lambda: exec("raise KeyboardInterrupt"),  # noqa: S102
        "segfault": lambda: ctypes.string_at(0),
        "list": lambda: [1],
        "object": lambda: {"final_answer": object()},
        "huge": lambda: {"final_answer": "x" * 20_000_000},
        "half a letter": lambda: exec("raise ValueError('\\ud800')"),  # noqa: S102
        "no message": lambda: exec("raise NoMessage", {"NoMessage": NoMessage}),  # noqa: S102
    }.get(question, lambda: {"final_answer": "so"})()


class NoMessage(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise ValueError("not readable")


REASONS = {
    "hang": "TimeLimit: took longer than 0.7 s and was ended",
    "exit": "ProcessDied: ended its process (exit code 3)",
    "system exit": "SystemExit: 4",
    "interrupt": "KeyboardInterrupt: ",
    "segfault": "ProcessDied: ended its process (by SIGSEGV)",
    "list": "UnusableResult: returned a list; a result is a mapping of fields",
    "object": "UnusableResult: returned what cannot be written as JSON (a object)",
    "huge": "UnusableResult: returned 20 MB; at most 10 MB are read",
    "half a letter": "ValueError: ?",
    "no message": "NoMessage: its message cannot be read (ValueError)",
}


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_case_that_hangs_dies_or_returns_nonsense_fails_alone_and_the_order_stays(jobs: int) -> None:
    asked = cases("first", *REASONS, "last", expected_fields=("final_answer",))
    # A closure cannot be imported: it is asked in forked processes.
    found = results(asked, lambda question: naughty(question), jobs=jobs, time_limit_s=0.7)
    assert list(found) == ["first", *REASONS, "last"]
    assert {name: one.reasons[0] for name, one in found.items() if not one.passed} == REASONS


def test_what_a_case_started_ends_with_it(tmp_path: Path) -> None:
    def starts_another(question: str) -> dict[str, Any]:
        child = subprocess.Popen(["sleep", "60"])  # noqa: S607
        (tmp_path / "child").write_text(str(child.pid))
        child.wait()
        return {}

    results(cases("a"), starts_another, time_limit_s=0.7)
    status = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    for _ in range(50):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the process that the case started still runs")


def test_what_is_expected_is_never_handed_to_the_workflow() -> None:
    seen: dict[str, Any] = {}

    def spy(*given: Any, **named: Any) -> dict[str, Any]:
        seen.update(given=given, named=named, environment=[value for value in os.environ.values() if "secret" in value])
        return {"workflow": "qa", "final_answer": str(seen)}

    (one,) = results(
        cases("a", expected_workflow="secret", expected_fields=("secret",), tags=("secret",)), spy
    ).values()
    assert one.reasons[0] == "chose the workflow 'qa', not 'secret'"


def test_the_workflow_sees_the_question_alone(tmp_path: Path) -> None:
    def spy(*given: Any, **named: Any) -> dict[str, Any]:
        (tmp_path / "seen").write_text(repr((given, named)))
        return {"workflow": "qa"}

    results(cases("a", expected_workflow="qa", tags=("t",)), spy)
    assert (tmp_path / "seen").read_text() == "(('a',), {})"


def test_steps_signals_and_the_chosen_workflow_come_from_the_trace(tmp_path: Path) -> None:
    found = results(cases("good", "bad"), workflows.traced, output_dir=tmp_path, repeat=2)
    good, bad = found["good"], found["bad"]
    assert (good.passed, good.workflow, list(good.steps)) == (True, "loud", ["search", "write"])
    assert good.signals["has_search"] is True
    assert bad.reasons == ("KeyError: 'no such word'",)
    assert (bad.workflow, bad.signals["failure_occurred"]) == ("loud", True)
    recorded = {run.request_id for run in load_traces(tmp_path / "traces.jsonl")}
    assert recorded == {"good-0", "good-1", "bad-0", "bad-1"}


def test_a_trace_in_the_result_is_recorded_under_the_id_of_the_case(tmp_path: Path) -> None:
    def handed(question: str) -> dict[str, Any]:
        trace = WorkflowTrace(request_id="own", workflow_name="qa", success=True, quality_signals={"tone": 3})
        return {"trace": trace, "cost_usd": 0.5}

    (one,) = results(cases("a", expected_workflow="qa", max_cost_usd=1.0), handed, output_dir=tmp_path).values()
    assert (one.passed, one.signals, one.cost_usd) == (True, {"tone": 3}, 0.5)


def test_a_workflow_that_records_nothing_is_judged_by_what_it_returns() -> None:
    expected = {"expected_workflow": "loud", "quality_thresholds": {"min_citation_count": 1, "max_answer_length": 4}}
    found = results(cases("why?", "too long", **expected), workflows.shout)
    assert found["why?"].passed
    assert found["too long"].reasons == ("answer_length is 8, at most 4 was expected",)


def test_a_run_with_the_same_seed_draws_the_same_and_every_repetition_anew() -> None:
    first, again = (run_regression(cases("a"), workflows.drawn, repeat=2, progress=False).results for _ in range(2))
    assert [one.workflow for one in first] == [one.workflow for one in again]
    assert first[0].workflow != first[1].workflow


def test_what_cases_print_is_kept_in_the_output_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def talks(question: str) -> dict[str, Any]:
        print("out loud")
        return {}

    results(cases("a"), talks, output_dir=tmp_path)
    assert (tmp_path / "output.log").read_text() == "out loud\n"
    assert capfd.readouterr().out == ""


def test_where_no_process_can_be_forked_the_cases_run_here_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    report = run_regression(cases("a"), lambda question: {"workflow": str(os.getpid())}, progress=False)
    assert report.results[0].workflow == str(os.getpid())
    assert "ran in this process" in report.caveats[0]


def test_a_workflow_that_cannot_be_made_ready_is_one_error_with_its_reason() -> None:
    def workflow(question: str) -> dict[str, Any]:
        return {}

    def no_index() -> None:
        raise OSError("no index")

    workflow.warm = no_index  # type: ignore[attr-defined]
    with pytest.raises(WorkerError, match=r"could not be made ready \(OSError: no index\)"):
        results(cases("a"), workflow)
    workflow.warm = lambda: os._exit(5)  # type: ignore[attr-defined]
    with pytest.raises(WorkerError, match="exit code 5"):
        results(cases("a"), workflow)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("shout", "write module:function"),
        ("no.such.module:f", "cannot be imported"),
        ("tests.workflows.regression_workflows:whisper", "has no 'whisper'"),
        ("tests.workflows.regression_workflows:NOT_CALLABLE", "is of type int"),
    ],
)
def test_a_name_of_no_workflow_is_refused_with_its_reason(name: str, reason: str) -> None:
    with pytest.raises(CausalkitError) as caught:
        load_workflow(name)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
