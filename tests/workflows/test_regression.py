from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from causalkit.__main__ import main
from causalkit.errors import TraceFormatError
from causalkit.workflows.regression import run_regression
from causalkit.workflows.regression_cases import CaseResult, RegressionCase
from causalkit.workflows.regression_compare import compare
from causalkit.workflows.regression_report import RegressionReport
from causalkit.workflows.regression_text import summary, write_junit
from tests.plots.artists import assert_only_the_house_colours, legend_texts, tick_labels
from tests.workflows import regression_workflows as workflows

HERE = "tests.workflows.regression_workflows"


def cases(number: int = 12, **expected: Any) -> list[RegressionCase]:
    expected = {"quality_thresholds": {"min_citation_count": 1}, **expected}
    return [RegressionCase(id=f"c{place}", question=f"why {place}?", **expected) for place in range(number)]


@pytest.fixture(autouse=True)
def _idle_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def good() -> RegressionReport:
    return quiet(run_regression(cases(), workflows.shout, progress=False))


def quiet(report: RegressionReport) -> RegressionReport:
    return replace(report, host={**report.host, "load_1m": 0.0, "load_1m_after": 0.0})


def told(passed: list[bool], **fields: Any) -> RegressionReport:
    """A report made up from what passed."""
    results = [
        CaseResult(id=f"c{n}", question=f"q{n}", fingerprint="f", passed=one, reasons=() if one else ("wrong <b>\0",))
        for n, one in enumerate(passed)
    ]
    return RegressionReport(results=tuple(results), timestamp="2026-01-02T00:00:00+00:00", workflow="m:f", **fields)


def test_a_report_names_what_makes_a_run_comparable(good: RegressionReport) -> None:
    assert (good.total, good.passed, good.failed, good.pass_rate) == (12, 12, 0, 1.0)
    assert (good.corpus_hash, good.workflow, good.regressed) == ("abc", f"{HERE}:shout", False)
    assert {"cores", "python", "platform", "load_1m", "load_1m_after", "packages"} == set(good.host)
    assert "msgspec" in good.host["packages"]


def test_a_saved_report_is_versioned_complete_and_read_back_whole(tmp_path: Path, good: RegressionReport) -> None:
    report = replace(good, comparison=compare(good.results, good.results))
    report.save(tmp_path / "new" / "report.json")
    written = json.loads((tmp_path / "new" / "report.json").read_text())
    keys = ("schema", "total", "passed", "failed", "pass_rate")
    assert [written[key] for key in keys] == [1, 12, 12, 0, 1.0]
    assert {"timestamp", "results", "corpus_hash", "dataset_hash", "random_seed", "repeat", "host"} <= set(written)
    assert RegressionReport.load(tmp_path / "new" / "report.json") == report


def test_the_same_workflow_again_shows_no_regression(good: RegressionReport) -> None:
    again = run_regression(cases(), workflows.shout, baseline=good, progress=False)
    assert not again.regressed
    assert again.sentence.startswith("No regression shown")
    assert "pass rate 100.0 % -> 100.0 %" in again.sentence


def test_a_worse_workflow_is_a_regression_with_its_size_its_signals_and_its_cases(good: RegressionReport) -> None:
    worse = run_regression(cases(), workflows.slow_shout, baseline=good, progress=False)
    assert worse.regressed
    assert worse.comparison is not None
    assert {metric.name for metric in worse.comparison.worse} == {"passed", "citation_count", "has_citations"}
    assert len(worse.comparison.newly_failing) == 12
    assert "Worse than the baseline: passed 100.0 % -> 0.0 % (-100.0 points" in worse.sentence


def test_a_baseline_on_another_corpus_is_refused_with_that_reason(good: RegressionReport) -> None:
    with pytest.raises(TraceFormatError, match=r"another corpus \(xyz\.\.\., this workflow from abc\.\.\.\)") as caught:
        run_regression(cases(), workflows.shout, baseline=replace(good, corpus_hash="xyz"), progress=False)
    assert caught.value.baseline_corpus_hash == "xyz"


def test_a_baseline_with_other_cases_is_compared_on_the_common_ones_and_that_is_said(good: RegressionReport) -> None:
    asked = [*cases(10), RegressionCase(id="c10", question="another"), RegressionCase(id="new", question="new")]
    report = run_regression(asked, workflows.shout, baseline=good, progress=False)
    assert report.comparison is not None
    assert report.comparison.primary.cases == 10
    assert "3 cases are new, gone or changed since the baseline; compared on the 10 others" in report.caveats


def test_a_baseline_without_a_common_case_is_refused(good: RegressionReport) -> None:
    with pytest.raises(TraceFormatError, match="not one of these cases"):
        run_regression(cases(max_latency_ms=1e6), workflows.shout, baseline=good, progress=False)


@pytest.mark.parametrize(
    ("changed", "caveat"),
    [
        ({"host": {"cores": 1, "load_1m": 9.0}}, "latencies are not judged: the host was busy"),
        ({"jobs": 7}, "latencies are not judged: the number of jobs 7 -> 1"),
        ({"host": {"packages": {"msgspec": "0.1"}}}, "other versions: msgspec 0.1 -> "),
    ],
)
def test_what_else_differs_from_the_baseline_is_said(
    good: RegressionReport, changed: dict[str, Any], caveat: str
) -> None:
    report = run_regression(cases(), workflows.shout, baseline=replace(good, **changed), progress=False)
    assert any(caveat in one for one in report.caveats)
    assert ("latencies not judged" in report.sentence) or not caveat.startswith("latencies")


@pytest.mark.parametrize("number", [1, 5])
def test_too_few_cases_to_show_anything_say_so(number: int) -> None:
    report = told([True] * number)
    compared = replace(report, comparison=compare(report.results, report.results))
    for one in (report, compared):
        assert one.detectable is None
        assert "show no drop of the pass rate, however large" in one.sentence


def test_the_summary_fits_a_screen_however_much_failed() -> None:
    report = told([False] * 200, caveats=("word " * 100,) * 9)
    for one in (report, replace(report, comparison=compare(told([True] * 200).results, report.results))):
        lines = summary(one).splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 100
    assert "... and " in summary(report)


def test_junit_has_a_test_case_for_each_case_and_one_for_the_comparison(tmp_path: Path) -> None:
    now, before = told([False] * 10 + [True]), told([True] * 11)
    write_junit(replace(now, comparison=compare(now.results, before.results)), tmp_path / "junit.xml")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314
    assert (suite.get("tests"), suite.get("failures")) == ("12", "11")
    assert [case.get("classname") for case in suite][-2:] == ["cases", "comparison"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "wrong <b>\ufffd"


def test_a_notebook_shows_the_report_with_all_text_escaped() -> None:
    shown = told([False, True])._repr_html_()
    assert "wrong &lt;b&gt;" in shown
    assert repr(told([False, True])) == "<RegressionReport 1 of 2 passed, regressed>"


def test_the_table_has_a_row_for_each_run_or_for_each_metric_of_the_comparison(good: RegressionReport) -> None:
    assert list(good.to_frame()["citation_count"]) == [1] * 12
    compared = replace(good, comparison=compare(good.results, good.results)).to_frame()
    assert {"name", "difference", "low", "high", "p_value", "verdict", "detectable"} <= set(compared)
    assert compared["name"][0] == "passed"


def test_the_picture_marks_what_is_worse_by_shape_and_colour(good: RegressionReport) -> None:
    worse = [replace(one, passed=False, signals={**one.signals, "answer_length": 99}) for one in good.results]
    ax = replace(good, comparison=compare(worse, good.results)).plot()
    assert set(legend_texts(ax)) == {"worse", "better", "no difference shown"}
    markers = {line.get_label(): line.get_marker() for line in ax.lines}
    assert (markers["worse"], markers["better"]) == ("v", "^")
    assert tick_labels(ax)[-1] == "passed (percentage points)"
    assert ax.get_title().startswith("1 of ")
    assert_only_the_house_colours(ax)


def test_without_a_baseline_the_picture_shows_the_latencies(good: RegressionReport) -> None:
    ax = good.plot()
    assert ax.get_ylabel() == "latency (milliseconds)"
    assert legend_texts(ax) == ["passed (12)", "failed (0)"]


def write_cases(path: Path, number: int = 12) -> Path:
    lines = [
        {"id": f"c{n}", "question": f"why {n}?", "quality_thresholds": {"min_citation_count": 1}} for n in range(number)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def regress(folder: Path, workflow: str, *more: str, dataset: Path | None = None) -> int:
    asked = dataset or write_cases(folder / "cases.jsonl")
    where = ["--output-dir", str(folder / "out"), "--report", str(folder / f"{workflow}.json")]
    return main(["regress", "--dataset", str(asked), "--workflow", f"{HERE}:{workflow}", "--quiet", *where, *more])


def test_the_command_exits_0_where_all_pass_and_1_for_a_failed_case_or_a_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert regress(tmp_path, "shout") == 0
    assert regress(tmp_path, "slow_shout") == 1
    assert "0 of 12 runs passed" in capsys.readouterr().out
    assert regress(tmp_path, "slow_shout", "--baseline", str(tmp_path / "slow_shout.json")) == 0
    assert regress(tmp_path, "slow_shout", "--baseline", str(tmp_path / "shout.json"), "--jobs", "2") == 1
    assert "worse   passed" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"traces.jsonl", "output.log", "junit.xml"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--repeat", "0"], "repeat is 0; it must be above 0"),
        (["--jobs", "-1"], "jobs is -1; it must be above 0"),
        (["--time-limit", "0"], "time_limit_s is 0.0; it must be above 0"),
        (["--workflow", "nowhere:f"], "the module 'nowhere' cannot be imported"),
        (["--workflow", f"{HERE}:nothing"], "has no 'nothing'"),
        (["--workflow", f"{HERE}:NOT_CALLABLE"], "is of type int; a workflow is a function"),
        (["--dataset", "{folder}/nowhere.jsonl"], "nowhere.jsonl"),
        (["--dataset", "{folder}/empty"], "holds no case"),
        (["--output-dir", "{folder}/empty"], "is a file; name a folder"),
        (["--report", "{folder}"], "is a folder; name a file"),
        (["--baseline", "{folder}/nowhere.json"], "nowhere.json"),
        (["--baseline", "{folder}/empty"], "is no regression report"),
        (["--baseline", "{folder}/list"], "its schema is None"),
        (["--baseline", "{folder}/newer"], "its schema is 2"),
        (["--baseline", "{folder}/hollow"], "holds no result"),
    ],
)
def test_unusable_input_is_one_sentence_and_exit_2(
    tmp_path: Path, more: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {"empty": "", "list": "[]", "newer": '{"schema": 2, "results": [1]}', "hollow": '{"schema": 1}'}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    assert regress(tmp_path, "shout", *(part.format(folder=tmp_path) for part in more)) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
