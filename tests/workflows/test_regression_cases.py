from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.quality import quality_signal
from causalkit.workflows.regression_cases import RegressionCase, judge, load_cases

DATA = Path(__file__).parents[2] / "data" / "regression_cases.jsonl"
GOOD = {"workflow": "qa", "fields": ["final_answer"], "signals": {"citation_count": 2, "has_search": True}}


def written(folder: Path, *lines: str) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def case(**told: Any) -> RegressionCase:
    return RegressionCase(id="a", question="why?", **told)


def test_the_shipped_cases_are_at_least_sixty_of_both_workflows_and_of_refusals() -> None:
    cases = load_cases(DATA)
    assert len(cases) >= 60
    assert {one.expected_workflow for one in cases} == {"search_qa", "lesson_pack"}
    assert {one.expected_error for one in cases} == {None, "EmptyQuestionError", "NoDocumentError"}


def test_every_bad_line_is_named_with_its_number_in_one_sentence(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"id": "a", "question": "why?"}',
        "not JSON",
        '{"id": "b"}',
        "",
        '{"id": "a", "question": "again?"}',
        '{"id": "c", "question": "why?", "expected": 1}',
    )
    with pytest.raises(TraceFormatError) as caught:
        load_cases(path)
    assert caught.value.lines == (2, 3, 5, 6)
    told = str(caught.value)
    assert "\n" not in told
    for part in ("line 2: ", "line 3: Object missing required field `question`", "line 5: the id 'a'", "`expected`"):
        assert part in told


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quality_thresholds": {"min_beauty": 1}}, "'min_beauty'"),
        ({"quality_thresholds": {"citation_count": 1}}, "'citation_count'"),
        ({"quality_thresholds": {"min_citation_count": "two"}}, "Expected `bool | float`"),
        ({"max_latency_ms": 0}, "max_latency_ms"),
        ({"expected_error": "E", "expected_fields": ["final_answer"]}, "no fields to expect"),
        ({"question": ""}, "question"),
        ({"id": 3}, "Expected `str`"),
    ],
)
def test_what_is_no_case_is_refused_with_its_reason(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    path = written(tmp_path, json.dumps({"id": "a", "question": "why?", **fields}))
    with pytest.raises(TraceFormatError) as caught:
        load_cases(path)
    assert reason in str(caught.value)


def test_a_file_without_a_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="holds no case"):
        load_cases(written(tmp_path, "", "  "))


def test_a_signal_of_the_users_can_have_a_threshold(tmp_path: Path) -> None:
    quality_signal(name="tone")(lambda trace, state: 1)
    try:
        line = '{"id": "a", "question": "why?", "quality_thresholds": {"max_tone": 2}}'
        assert load_cases(written(tmp_path, line))[0].limits() == [("tone", "max", 2)]
    finally:
        quality_signal.unregister("tone")


def test_a_run_that_meets_everything_has_no_reason_against_it() -> None:
    thresholds = {"min_citation_count": 2, "max_citation_count": 2, "min_has_search": True}
    asked = case(expected_workflow="qa", expected_fields=("final_answer",), quality_thresholds=thresholds)
    assert judge(asked, GOOD) == ()


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ({"expected_workflow": "lessons"}, "chose the workflow 'qa', not 'lessons'"),
        ({"expected_fields": ("citations",)}, "the result's 'citations' is missing or empty"),
        ({"quality_thresholds": {"min_citation_count": 3}}, "citation_count is 2, at least 3 was expected"),
        ({"quality_thresholds": {"max_has_search": 0}}, "has_search is 1, at most 0 was expected"),
        ({"quality_thresholds": {"min_tone": 1}}, "tone is not known, so it cannot be at least 1"),
        ({"max_cost_usd": 1.0}, "cost_usd is not known, so it cannot be at most 1"),
        ({"max_latency_ms": 5.0}, "latency_ms is 9, at most 5 was expected"),
        ({"expected_error": "KeyError"}, "answered, KeyError was expected"),
    ],
)
def test_a_run_that_falls_short_is_told_in_which_way(expected: dict[str, Any], reason: str) -> None:
    assert judge(case(**expected), {**GOOD, "latency_ms": 9.0}) == (reason,)


def test_an_expected_error_is_met_by_its_name_only() -> None:
    asked = case(expected_error="KeyError", quality_thresholds={"min_failure_occurred": 1})
    failed = {"signals": {"failure_occurred": True}}
    assert judge(asked, {**failed, "error": {"type": "KeyError", "message": "x"}}) == ()
    assert judge(asked, {**failed, "error": {"type": "OSError", "message": "x"}}) == (
        "OSError: x; KeyError was expected",
    )


def test_a_case_with_other_expectations_is_another_case_and_tags_do_not_matter() -> None:
    assert case(tags=("x",)).fingerprint() == case().fingerprint()
    assert case(max_latency_ms=1.0).fingerprint() != case().fingerprint()
