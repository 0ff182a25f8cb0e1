from __future__ import annotations

from collections import Counter

from causalkit.examples.router import load_questions


def test_all_questions_are_distinct() -> None:
    questions = [case["question"] for case in load_questions()]
    assert len(set(questions)) == len(questions)


def test_both_workflows_are_asked_for() -> None:
    asked = Counter(case["expected_workflow"] for case in load_questions() if "expected_failure" not in case)
    assert asked["search_qa"] >= 240
    assert asked["lesson_pack"] >= 50


def test_questions_are_short_and_long() -> None:
    lengths = [len(case["question"].split()) for case in load_questions() if "expected_failure" not in case]
    assert min(lengths) == 3
    assert max(lengths) >= 40


def test_only_the_last_six_questions_are_expected_to_fail() -> None:
    failures = [case.get("expected_failure") for case in load_questions()]
    assert not any(failures[:-6])
    assert set(failures[-6:]) == {"EmptyQuestionError", "NoDocumentError"}
