from __future__ import annotations

import pytest

from causalkit.examples.router import load_questions, route


@pytest.mark.parametrize(
    ("question", "workflow"),
    [
        ("Teach me how group by works", "lesson_pack"),
        ("An introductory course on decision trees", "lesson_pack"),
        ("What is the default of n_jobs?", "search_qa"),
        ("rolling mean", "search_qa"),
        ("", "search_qa"),
    ],
)
def test_words_decide_where_a_question_goes(question: str, workflow: str) -> None:
    assert route(question).workflow == workflow


def test_more_cues_make_the_router_surer() -> None:
    assert route("Teach me the basics of graphs, a tutorial").confidence > route("Teach me graphs").confidence


def test_confidence_is_a_share_from_one_half_to_one() -> None:
    assert all(0.5 <= route(case["question"]).confidence <= 1 for case in load_questions())


def test_the_router_is_mostly_right_and_sometimes_wrong() -> None:
    cases = [case for case in load_questions() if "expected_failure" not in case]
    right = [route(case["question"]).workflow == case["expected_workflow"] for case in cases]
    assert 0.85 <= sum(right) / len(right) <= 0.95
